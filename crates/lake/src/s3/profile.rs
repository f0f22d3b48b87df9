//! Keys and region from the profile files (`~/.aws/credentials`, `~/.aws/config`), where the environment has none.
//!
//! The library's chain goes from the environment straight to the machine's role; on a person's machine that ends in a
//! long wait for a metadata service that is not there, although the keys lie in a file that every other tool reads.
//!
//! It reads static keys and the region. Profiles that run a program or assume a role are not followed.

use std::path::PathBuf;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};

/// Variables that name a source of credentials which goes before the files, or instead of them.
const OTHER_SOURCES: &[&str] =
    &["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"];

pub(super) fn complete(mut settings: AmazonS3Builder, env: &dyn Fn(&str) -> Option<String>) -> AmazonS3Builder {
    let has = |settings: &AmazonS3Builder, key| settings.get_config_value(&key).is_some_and(|value| !value.is_empty());
    let profile = env("AWS_PROFILE").filter(|name| !name.is_empty()).unwrap_or_else(|| "default".into());
    let named_keys = has(&settings, AmazonS3ConfigKey::AccessKeyId) || has(&settings, AmazonS3ConfigKey::SecretAccessKey);
    if !named_keys && !OTHER_SOURCES.iter().any(|name| env(name).is_some()) {
        let text = read(env, "AWS_SHARED_CREDENTIALS_FILE", "credentials");
        let value = |name| value_in(&text, &profile, name);
        if let (Some(id), Some(secret)) = (value("aws_access_key_id"), value("aws_secret_access_key")) {
            settings = settings.with_access_key_id(id).with_secret_access_key(secret);
            if let Some(token) = value("aws_session_token") {
                settings = settings.with_token(token);
            }
        }
    }
    if !has(&settings, AmazonS3ConfigKey::Region) && !has(&settings, AmazonS3ConfigKey::DefaultRegion) {
        let text = read(env, "AWS_CONFIG_FILE", "config");
        let section = if profile == "default" { profile } else { format!("profile {profile}") };
        if let Some(region) = value_in(&text, &section, "region") {
            settings = settings.with_region(region);
        }
    }
    settings
}

fn read(env: &dyn Fn(&str) -> Option<String>, variable: &str, name: &str) -> String {
    let usual = || env("HOME").map(|home| PathBuf::from(home).join(".aws").join(name));
    let path = env(variable).map(PathBuf::from).or_else(usual);
    path.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default()
}

fn value_in<'a>(text: &'a str, section: &str, name: &str) -> Option<&'a str> {
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            inside = header.trim() == section;
        } else if inside
            && let Some((key, value)) = line.split_once('=')
            && key.trim() == name
        {
            return Some(value.trim());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(environment: &[(&str, &str)], start: AmazonS3Builder) -> AmazonS3Builder {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(".aws")).unwrap();
        let keys = "[default]\naws_access_key_id = ONE\naws_secret_access_key=first\n\n[work]\naws_access_key_id=TWO\naws_secret_access_key = second\n";
        std::fs::write(folder.path().join(".aws/credentials"), keys).unwrap();
        std::fs::write(folder.path().join(".aws/config"), "[default]\nregion = eu-west-1\n[profile work]\nregion=eu-north-1\n").unwrap();
        let home = folder.path().to_str().unwrap().to_owned();
        let find = |name: &str| match name {
            "HOME" => Some(home.clone()),
            name => environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()),
        };
        complete(start, &find)
    }

    fn id_and_region(settings: &AmazonS3Builder) -> (Option<String>, Option<String>) {
        (settings.get_config_value(&AmazonS3ConfigKey::AccessKeyId), settings.get_config_value(&AmazonS3ConfigKey::Region))
    }

    #[test]
    fn files_fill_what_the_environment_leaves_open() {
        let start = AmazonS3Builder::new;
        let owned = |id: &str, region: &str| (Some(id.to_owned()), Some(region.to_owned()));
        assert_eq!(id_and_region(&completed(&[], start())), owned("ONE", "eu-west-1"));
        assert_eq!(id_and_region(&completed(&[("AWS_PROFILE", "work")], start())), owned("TWO", "eu-north-1"));
        let given = start().with_access_key_id("ENV").with_secret_access_key("x").with_region("us-west-2");
        assert_eq!(id_and_region(&completed(&[], given)), owned("ENV", "us-west-2"));
        assert_eq!(id_and_region(&completed(&[("AWS_WEB_IDENTITY_TOKEN_FILE", "/t")], start())).0, None);
        assert_eq!(id_and_region(&completed(&[("AWS_PROFILE", "nobody")], start())), (None, None));
    }
}
