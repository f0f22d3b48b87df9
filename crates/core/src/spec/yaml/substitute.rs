//! `${NAME}` and `${NAME:-default}` inside a parsed scalar.
//!
//! The replacement happens behind the YAML parser, so a variable's content can never change the structure of the
//! config (`a_variable_cannot_add_keys`). An unset variable is an error, not an empty text.

use super::text::Scalar;
use crate::spec::problem::Problem;

/// Replaces every `${…}` of the scalar. The environment is an argument: core reads none.
pub(super) fn fill_in(scalar: &mut Scalar, env: &dyn Fn(&str) -> Option<String>, problems: &mut Vec<Problem>) {
    if !scalar.text.contains("${") {
        return;
    }
    let mut filled = String::new();
    let mut rest = scalar.text.as_str();
    let mut offset = 0;
    while let Some(start) = rest.find("${") {
        filled.push_str(&rest[..start]);
        let inner = &rest[start + 2..];
        let Some(end) = inner.find('}') else {
            let at = scalar.place_of(offset + start, 2);
            problems.push(Problem::error(&at, "`${` without a closing `}`").hint("write `${NAME}` or `${NAME:-default}`"));
            scalar.unfilled = true;
            filled.push('x');
            rest = "";
            break;
        };
        match resolve(&inner[..end], env) {
            Ok(text) => filled.push_str(&text),
            Err((message, hint)) => {
                let at = scalar.place_of(offset + start, end + 3);
                problems.push(Problem::error(&at, message).hint(hint));
                scalar.unfilled = true;
                // Something in its place, so that what is around it is still checked.
                filled.push('x');
            }
        }
        let behind = start + 2 + end + 1;
        offset += behind;
        rest = &rest[behind..];
    }
    filled.push_str(rest);
    scalar.text = filled;
    scalar.substituted = true;
}

fn resolve(inner: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, (String, String)> {
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let begins = name.chars().next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    if !begins || !name.chars().all(|other| other.is_ascii_alphanumeric() || other == '_') {
        let message = format!("`${{{inner}}}` does not name an environment variable");
        return Err((message, "write `${NAME}` or `${NAME:-default}`; a template variable is `{name}`, without the `$`".into()));
    }
    // As in a shell, an empty variable counts as unset where there is a default.
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err((format!("environment variable `{name}` is not set"), format!("set it, or give a default: `${{{name}:-…}}`"))),
    }
}
