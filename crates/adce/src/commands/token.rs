//! `adce token`: who may do what by the API and the pages of an engine that stays.
//!
//! A token is made here, shown once, and told to nobody: the engine and the state get its digest.

use std::sync::Arc;
use std::time::Duration;

use adce_api::{Client, TokenLine};
use adce_core::access::{AuditRecord, Role, TokenHash, TokenRecord, token_of};
use adce_core::ports::Clock;
use adce_core::record::Change;
use adce_core::spec::Spec;
use adce_core::time::{SignedDuration, Timestamp};
use clap::{Args, Subcommand, ValueEnum};

use crate::cli::Format;
use crate::clock::MachineClock;
use crate::commands::ask;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::{views, wiring};

#[derive(Args, Debug)]
pub struct TokenArgs {
    #[command(subcommand)]
    pub what: What,
}

#[derive(Subcommand, Debug)]
pub enum What {
    /// A new one; it is shown this once.
    #[command(after_help = "Examples:\n  adce token create anna --role operator\n  adce token create grafana --role viewer --expires 90d")]
    Create {
        /// Whose it is: letters, digits, `.`, `-` and `_`.
        name: String,

        /// What it may.
        #[arg(long, value_enum)]
        role: RoleName,

        /// It holds for so long; without this, until it is revoked.
        #[arg(long, value_name = "SPAN", value_parser = crate::cli::parse_span)]
        expires: Option<Duration>,
    },
    /// All of them, without their secrets.
    #[command(after_help = "Examples:\n  adce token list\n  adce token list --format json")]
    List,
    /// From now on it is nobody's.
    #[command(after_help = "Examples:\n  adce token revoke anna")]
    Revoke { name: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleName {
    /// Looks.
    Viewer,
    /// Retries, cancels, pauses, asks for a cycle.
    Operator,
    /// Decides what is believed, and reads the audit log.
    Admin,
}

impl RoleName {
    fn role(self) -> Role {
        match self {
            RoleName::Viewer => Role::Viewer,
            RoleName::Operator => Role::Operator,
            RoleName::Admin => Role::Admin,
        }
    }
}

pub async fn run(args: &TokenArgs, spec: Arc<Spec>, format: Format) -> Result<Exit, Failure> {
    match &args.what {
        What::Create { name, role, expires } => create(name, role.role(), *expires, &spec, format).await?,
        What::List => list(&spec, format)?,
        What::Revoke { name } => revoke(name, &spec, format).await?,
    }
    Ok(Exit::Complete)
}

async fn create(name: &str, role: Role, expires: Option<Duration>, spec: &Spec, format: Format) -> Result<(), Failure> {
    let now = MachineClock.now().wall;
    let secret = token_of(&rand::random());
    let expires = expires.map(|span| SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX));
    let record = TokenRecord {
        name: name.to_owned(),
        role,
        hash: TokenHash::of(&secret),
        created_at: now,
        expires_at: expires.map(|span| now.saturating_add(span).unwrap_or(Timestamp::MAX)),
        revoked_at: None,
    };
    let line = match ask::engine(spec)? {
        Some(mut engine) => ask::answered(Client::new_token(&mut engine, record))?,
        None => {
            let line = views::token_line(&record);
            in_the_state(spec, "token create", None, |known| may_be_made(known, name, now).map(|()| record)).await?;
            line
        }
    };
    match format {
        Format::Json => {
            let mut shown = serde_json::to_value(&line).unwrap_or_default();
            shown["token"] = secret.into();
            say!("{shown}");
        }
        Format::Text => {
            say!("{secret}");
            say_aside!("{}; shown this once. Used as `Authorization: Bearer <token>`, and to log in on the pages", words(&line, now));
        }
    }
    Ok(())
}

async fn revoke(name: &str, spec: &Spec, format: Format) -> Result<(), Failure> {
    let now = MachineClock.now().wall;
    let line = match ask::engine(spec)? {
        Some(mut engine) => ask::answered(Client::revoke_token(&mut engine, name))?,
        None => {
            let before = ask::state(spec)?.map(|state| state.tokens()).transpose()?.unwrap_or_default();
            let before = before.iter().find(|token| token.name == name).map(views::token_line);
            let token = in_the_state(spec, "token revoke", before, |known| revoked(known, name, now).map(|(_, token)| token)).await?;
            views::token_line(&token)
        }
    };
    match format {
        Format::Json => say!("{}", serde_json::to_string(&line).unwrap_or_default()),
        Format::Text => say!("{}", words(&line, now)),
    }
    Ok(())
}

fn list(spec: &Spec, format: Format) -> Result<(), Failure> {
    let mut lines = Vec::new();
    match ask::engine(spec)? {
        Some(mut engine) => ask::answered(engine.tokens(|line| lines.push(line)))?,
        None => lines.extend(ask::state(spec)?.map(|state| state.tokens()).transpose()?.unwrap_or_default().iter().map(views::token_line)),
    }
    match format {
        Format::Json => lines.iter().for_each(|line| say!("{}", serde_json::to_string(line).unwrap_or_default())),
        Format::Text if lines.is_empty() => say!("no tokens; `adce token create NAME --role viewer|operator|admin` makes one"),
        Format::Text => {
            let now = MachineClock.now().wall;
            let widest = lines.iter().map(|line| line.name.len()).max().unwrap_or_default().max(4);
            say!("{:widest$}  {:8}  {:10}  HOLDS", "NAME", "ROLE", "MADE");
            for line in &lines {
                let made = line.created_at.strftime("%Y-%m-%d").to_string();
                say!("{:widest$}  {:8}  {made:10}  {}", line.name, line.role.word(), holds(line, now));
            }
        }
    }
    Ok(())
}

fn holds(line: &TokenLine, now: Timestamp) -> String {
    let day = |at: Timestamp| at.strftime("%Y-%m-%d").to_string();
    match (line.revoked_at, line.expires_at) {
        (Some(at), _) => format!("revoked {}", day(at)),
        (None, Some(at)) if at <= now => format!("expired {}", day(at)),
        (None, Some(at)) => format!("until {}", day(at)),
        (None, None) => "until revoked".into(),
    }
}

fn words(line: &TokenLine, now: Timestamp) -> String {
    format!("`{}`, {}: {}", line.name, line.role.word(), holds(line, now))
}

const NAME_LETTERS: usize = 64;

/// Whether there may be a new one of this name.
pub fn may_be_made(known: &[TokenRecord], name: &str, now: Timestamp) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if name.is_empty() || name.len() > NAME_LETTERS || !name.bytes().all(is_plain) {
        return Err(format!("`{name}` is no name for a token: 1 to {NAME_LETTERS} letters, digits, `.`, `-` and `_`"));
    }
    if name == "shell" || name == "anybody" {
        return Err(format!("`{name}` stands in the audit log for somebody else"));
    }
    match known.iter().find(|token| token.name == name && token.holds(now)) {
        Some(_) => Err(format!("there is a token `{name}` that holds; `adce token revoke {name}` first")),
        None => Ok(()),
    }
}

/// As it was, and as it is when it is revoked.
pub fn revoked(known: &[TokenRecord], name: &str, now: Timestamp) -> Result<(TokenRecord, TokenRecord), String> {
    let token = known.iter().find(|token| token.name == name);
    let token = token.ok_or_else(|| format!("no token is called `{name}`; `adce token list` names them"))?;
    let revoked_at = token.revoked_at.or(Some(now));
    Ok((token.clone(), TokenRecord { revoked_at, ..token.clone() }))
}

/// Nobody runs: the state is taken for a moment, made if there is none, and written.
async fn in_the_state(
    spec: &Spec,
    action: &str,
    before: Option<TokenLine>,
    decide: impl FnOnce(&[TokenRecord]) -> Result<TokenRecord, String>,
) -> Result<TokenRecord, Failure> {
    let lake = adce_lake::open(&spec.lake)?;
    let store = wiring::take_state(spec, &*lake).await?;
    let token = decide(&store.tokens().await?).map_err(|why| Failure::new(Exit::Usage, why))?;
    let done = AuditRecord {
        seq: 0,
        at: MachineClock.now().wall,
        who: "shell".into(),
        action: action.into(),
        what: token.name.clone(),
        reason: None,
        before: before.and_then(|line| serde_json::to_string(&line).ok()),
        after: serde_json::to_string(&views::token_line(&token)).ok(),
    };
    store.apply(vec![Change::PutToken(token.clone()), Change::Audit(done)]).await?;
    Ok(token)
}
