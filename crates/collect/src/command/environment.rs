//! What a command sees of the environment: what the config allows, and what the contract says.
//!
//! adce's own environment holds the lake's credentials and everything else that its service manager gave it. A scraper
//! is somebody else's code: it gets names from an allow-list, and the lake's credentials only with `lake_access`.

use std::ffi::{OsStr, OsString};

use adce_core::ports::Order;
use adce_core::spec::{Environment, Secretive};

use crate::secret;

/// The family of names in which the lake's credentials come (`AWS_PROFILE` points to them, too).
const LAKE_CREDENTIALS: &str = "AWS_";
/// Of that family, what must never show in a log.
const LAKE_SECRETS: [&str; 2] = ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// Variables of a child, and which of their values are secret.
#[derive(Default)]
pub(crate) struct ChildEnvironment {
    pub(crate) variables: Vec<(OsString, OsString)>,
    pub(crate) secrets: Vec<String>,
    /// Names by which the gateway would have been found, and that the config has set to something else.
    pub(crate) own_way: Vec<&'static str>,
}

impl ChildEnvironment {
    /// `own`: the environment of this process. The error names the secret that is not there, never a value.
    pub(crate) fn of(order: &Order, own: &[(OsString, OsString)]) -> Result<Self, String> {
        let mut child = ChildEnvironment::default();
        let rules = &order.collector.environment;
        child.hand_on(rules, own);
        child.set(rules, own)?;
        child.contract(order);
        Ok(child)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_os_str())
    }

    fn hand_on(&mut self, rules: &Environment, own: &[(OsString, OsString)]) {
        for (name, value) in own {
            let text = name.to_string_lossy();
            let of_the_lake = text.starts_with(LAKE_CREDENTIALS);
            let allowed = if of_the_lake { rules.lake_access } else { rules.pass.iter().any(|allowed| *allowed == text) };
            if !allowed {
                continue;
            }
            if LAKE_SECRETS.contains(&&*text) {
                self.secrets.push(value.to_string_lossy().into_owned());
            }
            self.variables.push((name.clone(), value.clone()));
        }
    }

    fn set(&mut self, rules: &Environment, own: &[(OsString, OsString)]) -> Result<(), String> {
        for (name, value) in &rules.set {
            let text = secret::resolve(value, own).map_err(|why| format!("variable `{name}`: {why}"))?;
            if !matches!(value, Secretive::Plain(_)) {
                self.secrets.push(text.clone());
            }
            self.variables.push((name.into(), text.into()));
        }
        Ok(())
    }

    fn contract(&mut self, order: &Order) {
        let mut add = |name: &str, value: OsString| self.variables.push((name.into(), value));
        add("ADCE_TASK", order.task.to_string().into());
        add("ADCE_ATTEMPT", order.attempt.to_string().into());
        add("ADCE_ITEMS", order.folder.join("items.jsonl").into());
        add("ADCE_OUT", order.out_folder().into());
        add("ADCE_LAKE", order.lake.as_str().into());
        let Some(gateway) = &order.gateway else { return };
        add("ADCE_GATEWAY", gateway.url.clone().into());
        for (name, value) in &gateway.variables {
            // Whoever writes such a name into the config means it.
            match self.get(name) {
                Some(_) => self.own_way.push(name),
                None => self.variables.push(((*name).into(), value.into())),
            }
        }
    }
}
