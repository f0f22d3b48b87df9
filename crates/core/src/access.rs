//! Who may do what to a running engine, and what is on record of it.
//!
//! A token is 32 random bytes, and the state has nothing but a digest of it: whoever reads the state, or a copy of it, can act no more
//! than before. Such a token cannot be guessed, so a plain digest is enough; a slow one is for words that people choose.
//!
//! Always true: a token that is unknown, revoked or expired is nobody (`nobody_comes_in_by_a_token_that_does_not_hold`), and how long
//! it takes to find that out tells nothing of those that hold: every digest is compared to its end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Each may what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Retries, cancels, pauses, asks for a cycle or for items.
    Operator,
    /// Decides what is believed, and reads the audit log.
    Admin,
}

impl Role {
    pub const ALL: [Role; 3] = [Role::Viewer, Role::Operator, Role::Admin];

    pub fn word(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }

    pub fn of_word(word: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.word() == word)
    }
}

/// What a token begins with, so that whoever finds one knows what it is.
const BEGINS: &str = "adce_";

/// Digest of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenHash(blake3::Hash);

impl TokenHash {
    pub fn of(token: &str) -> TokenHash {
        TokenHash(blake3::Hasher::new_derive_key("adce access token 1").update(token.as_bytes()).finalize())
    }

    pub fn bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    pub fn from_bytes(bytes: [u8; 32]) -> TokenHash {
        TokenHash(blake3::Hash::from_bytes(bytes))
    }
}

impl Serialize for TokenHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.to_hex().as_str())
    }
}

impl<'de> Deserialize<'de> for TokenHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        blake3::Hash::from_hex(&text).map(TokenHash).map_err(serde::de::Error::custom)
    }
}

/// A token to be shown once, made of random bytes.
pub fn token_of(random: &[u8; 32]) -> String {
    let digits = random.iter().map(|byte| format!("{byte:02x}"));
    digits.fold(BEGINS.to_owned(), |token, digits| token + &digits)
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Who has it: `grafana`, `anna`.
    pub name: String,
    pub role: Role,
    pub hash: TokenHash,
    pub created_at: Timestamp,
    /// `None`: it holds until it is revoked.
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

impl TokenRecord {
    pub fn holds(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expires| now < expires)
    }
}

/// Whose the token is that was shown; `None`: nobody's.
pub fn bearer<'a>(tokens: &'a [TokenRecord], shown: &str, now: Timestamp) -> Option<&'a TokenRecord> {
    let shown = TokenHash::of(shown);
    // Equality of digests is in constant time, and nobody stops at the first that fits.
    tokens.iter().fold(None, |found, token| if token.hash == shown && token.holds(now) { Some(token) } else { found })
}

/// Something that somebody did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Counted by the state; of one that is to be written, nothing.
    pub seq: u64,
    pub at: Timestamp,
    /// `shell`, or a token's name.
    pub who: String,
    /// `retry`, `pause`, `token create`, …
    pub action: String,
    /// A key, a task, a source, a dataset, or nothing.
    pub what: String,
    pub reason: Option<String>,
    /// How it was and how it is, in JSON.
    pub before: Option<String>,
    pub after: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn nobody_comes_in_by_a_token_that_does_not_hold() {
        let record = |name: &str, expires_at, revoked_at| TokenRecord {
            name: name.into(),
            role: Role::Operator,
            hash: TokenHash::of(name),
            created_at: at(0),
            expires_at,
            revoked_at,
        };
        let tokens = [record("holds", None, None), record("expires", Some(at(100)), None), record("revoked", None, Some(at(50)))];
        let who = |shown: &str, now| bearer(&tokens, shown, at(now)).map(|token| token.name.as_str());
        assert_eq!(who("holds", 1_000), Some("holds"));
        assert_eq!((who("expires", 99), who("expires", 100)), (Some("expires"), None));
        assert_eq!(who("revoked", 60), None);
        for wrong in ["", "hold", "holds ", "HOLDS", &TokenHash::of("holds").0.to_hex()] {
            assert_eq!(who(wrong, 1), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_token_is_as_long_as_its_secret_and_says_what_it_is() {
        let token = token_of(&[0xa5; 32]);
        assert!(token.starts_with("adce_a5a5") && token.len() == BEGINS.len() + 64, "{token}");
    }

    #[test]
    fn a_digest_survives_text_and_bytes() {
        let hash = TokenHash::of("token");
        assert_eq!(serde_json::from_value::<TokenHash>(serde_json::to_value(hash).unwrap()).unwrap(), hash);
        assert_eq!(TokenHash::from_bytes(*hash.bytes()), hash);
    }

    #[test]
    fn roles_include_those_before_them() {
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
        assert!(Role::ALL.into_iter().all(|role| Role::of_word(role.word()) == Some(role)));
    }
}
