//! What must hold of a JSON text: `$.header.status == 'final'`, an expression whose names are paths.
//!
//! It is judged by the values that its paths name alone, so an object of any size can be asked while it streams by.

use serde_json::Value as Json;

use super::expression::{Expression, Role, Scope, Value, Var};
use super::names::{Columns, DimensionNames, LanguageError, Names};
use crate::json_path::JsonPath;

#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    expression: Expression,
    /// Of each name in the expression.
    paths: Vec<JsonPath>,
}

impl Claim {
    pub fn parse(text: &str) -> Result<Claim, Vec<LanguageError>> {
        // Whatever a path names may be there.
        let names = Names::new(vec![DimensionNames::table("", "", Vec::new(), Columns::MayHaveMore, Vec::new())]);
        let expression = Expression::parse(text, &names, Role::Claim)?;
        let (mut paths, mut errors) = (Vec::new(), Vec::new());
        for Var { name, offset, length } in expression.vars() {
            let path = JsonPath::parse(name).map_err(|error| (offset + error.offset, error.message));
            let single = path.and_then(|path| match path.is_single() {
                true => Ok(path),
                false => Err((*offset, format!("`{name}` names several values"))),
            });
            match single {
                Ok(path) => paths.push(path),
                Err((offset, message)) => {
                    errors.push(LanguageError { offset, length: *length, message, hint: Some("such as `$.header.status`".into()) })
                }
            }
        }
        if paths.is_empty() && errors.is_empty() {
            let hint = Some("such as `$.header.status == 'final'`".into());
            errors.push(LanguageError { offset: 0, length: text.len(), message: "it names nothing of the JSON".into(), hint });
        }
        if errors.is_empty() { Ok(Claim { expression, paths }) } else { Err(errors) }
    }

    pub fn paths(&self) -> &[JsonPath] {
        &self.paths
    }

    /// By what the paths name, in their order; the error says in words what is there instead.
    pub fn judge(&self, values: &[Option<Json>]) -> Result<(), String> {
        match self.expression.holds(&Picked(values)) {
            Ok(true) => Ok(()),
            Ok(false) => {
                let mut told: Vec<String> = Vec::new();
                for (path, value) in self.paths.iter().zip(values) {
                    let told_of = match value {
                        None => format!("`{path}` is not there"),
                        Some(value) => format!("`{path}` is {}", shortened(value)),
                    };
                    if !told.contains(&told_of) {
                        told.push(told_of);
                    }
                }
                Err(format!("`{}` does not hold: {}", self.expression.text(), told.join(", ")))
            }
            Err(error) => Err(format!("`{}`: {error}", self.expression.text())),
        }
    }
}

fn shortened(value: &Json) -> String {
    const SHOWN: usize = 40;
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

struct Picked<'v>(&'v [Option<Json>]);

impl Scope for Picked<'_> {
    fn value(&self, at: usize, _var: &Var) -> Value<'_> {
        match self.0.get(at).and_then(Option::as_ref) {
            None | Some(Json::Null) => Value::Null,
            Some(Json::Bool(truth)) => Value::Bool(*truth),
            Some(Json::Number(number)) => number.as_f64().map_or(Value::Null, Value::Number),
            Some(Json::String(text)) => Value::Text(text.as_str().into()),
            Some(whole @ (Json::Array(_) | Json::Object(_))) => Value::Text(whole.to_string().into()),
        }
    }

    fn origin(&self, _var: &Var) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judged(text: &str, values: &[Option<Json>]) -> Result<(), String> {
        Claim::parse(text).unwrap_or_else(|errors| panic!("`{text}`: {errors:?}")).judge(values)
    }

    #[test]
    fn a_claim_that_does_not_hold_says_what_is_there_instead() {
        let status = "$.header.status == 'final'";
        assert_eq!(judged(status, &[Some(json!("final"))]), Ok(()));
        assert_eq!(
            judged(status, &[Some(json!("halftime"))]).unwrap_err(),
            "`$.header.status == 'final'` does not hold: `$.header.status` is \"halftime\""
        );
        assert_eq!(judged(status, &[None]).unwrap_err(), "`$.header.status == 'final'` does not hold: `$.header.status` is not there");
        assert_eq!(judged("$.count > 0 and $.events is not null", &[Some(json!(7)), Some(json!([]))]), Ok(()));
        assert_eq!(judged("not $.error is not null", &[None]), Ok(()));
        assert!(judged("$.count > 0", &[Some(json!("many"))]).unwrap_err().starts_with("`$.count > 0`: "));
    }

    #[test]
    fn a_wrong_claim_is_told_with_its_place() {
        for (text, offset) in [("$.a.. == 1", 3), ("$.events[*].id == 1", 0), ("1 == 1", 0), ("a == 1", 0), ("$.a == now", 7)] {
            let errors = Claim::parse(text).err().unwrap_or_else(|| panic!("`{text}` is no claim"));
            assert_eq!(errors[0].offset, offset, "{text}: {errors:?}");
        }
    }
}
