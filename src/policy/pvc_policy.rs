//! A PVCPolicy with its values parsed, and what is wrong with it: the API server checks the same, but an object may be
//! older than the schema.
//!
//! An invalid field has no effect, and the others apply. The exception is `mode`: if it is invalid, or if there is no
//! ceiling, the policy forbids the expansion by usage that a weaker level permits.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde_json::Value;

use super::settings::{Increase, Limits};
use super::values;
use crate::api::annotations::Form;
use crate::api::bytes::Bytes;
use crate::api::crd::fields::{self, Field};
use crate::api::crd::policy::{MAX_PRIORITY, Operator, PvcPolicy, Selector, Spec};
use crate::api::names::PolicyName;

/// The value of `auto-scaled` of a policy that must not expand anything.
const FORBIDDEN: &str = "invalid";

/// A policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Its name.
    pub name: PolicyName,
    /// The larger one wins.
    pub priority: u16,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// The PVCs that it selects.
    pub selector: Selector,
    /// The namespaces that it selects; `None`: all that it may select.
    pub namespaces: Option<Selector>,
    /// Its settings, by the key of the annotation; an invalid `auto-scaled` among them.
    pub settings: Vec<(&'static str, String)>,
    /// Its limits.
    pub limits: Limits,
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The field, such as `spec.template.threshold`.
    pub field: String,
    /// Why it has no effect.
    pub why: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.why)
    }
}

impl Policy {
    /// Parses an object.
    ///
    /// # Errors
    /// If the object as a whole cannot be parsed: then nobody knows what it selects, and it selects nothing.
    pub fn read(object: &Value) -> Result<(Self, Vec<FieldError>), FieldError> {
        let parsed = serde_json::from_value::<PvcPolicy>(object.clone());
        let PvcPolicy { metadata, spec } = parsed.map_err(|error| FieldError {
            field: "spec".to_owned(),
            why: values::quote_up_to(&error.to_string(), 200),
        })?;
        for (field, selector) in
            [("selector", Some(&spec.selector)), ("namespaceSelector", spec.namespace_selector.as_ref())]
        {
            check_selector(field, selector)?;
        }
        let mut errors = Errors(Vec::new());
        let settings = errors.settings(&spec);
        let policy = Self {
            name: PolicyName { namespace: metadata.namespace, name: metadata.name },
            priority: spec.priority.min(MAX_PRIORITY),
            created: metadata.creation_timestamp,
            settings,
            limits: errors.limits(&spec.limits),
            selector: spec.selector,
            namespaces: spec.namespace_selector,
        };
        if spec.priority > MAX_PRIORITY {
            errors.add("spec.priority", format!("must be at most {MAX_PRIORITY}"));
        }
        for name in spec.unknown.keys() {
            errors.add(format!("spec.{}", values::shown(name)), "unknown field");
        }
        Ok((policy, errors.0))
    }
}

fn check_selector(field: &str, selector: Option<&Selector>) -> Result<(), FieldError> {
    let requirements = selector.iter().flat_map(|selector| &selector.match_expressions);
    let is_wrong = |operator: Operator, has_values: bool| match operator {
        Operator::In | Operator::NotIn => !has_values,
        Operator::Exists | Operator::DoesNotExist => has_values,
    };
    let mut wrong = requirements.filter(|one| is_wrong(one.operator, !one.values.is_empty()));
    wrong.next().map_or(Ok(()), |_| {
        let why = "In and NotIn need values; Exists and DoesNotExist take none".to_owned();
        Err(FieldError { field: format!("spec.{field}.matchExpressions"), why })
    })
}

/// The errors found so far.
struct Errors(Vec<FieldError>);

impl Errors {
    fn add(&mut self, field: impl Into<String>, why: impl Into<String>) {
        self.0.push(FieldError { field: field.into(), why: why.into() });
    }

    /// The valid values of a map of fields, as text.
    fn valid(&mut self, path: &str, fields: &[Field], given: &BTreeMap<String, Value>) -> BTreeMap<String, String> {
        let mut valid = BTreeMap::new();
        for (name, value) in given {
            let place = format!("{path}.{}", values::shown(name));
            match fields.iter().find(|field| field.name == *name) {
                None => self.add(place, "unknown field"),
                Some(field) => match parse(field.form, value) {
                    Ok(text) => drop(valid.insert(name.clone(), text)),
                    Err(why) => self.add(place, why),
                },
            }
        }
        valid
    }

    fn settings(&mut self, spec: &Spec) -> Vec<(&'static str, String)> {
        let Some(given) = &spec.template else { return Vec::new() };
        let fields = fields::template();
        let valid = self.valid("spec.template", &fields, given);
        self.check_sizes(&valid);
        if given.contains_key("providerConfig") && !given.contains_key("provider") {
            self.add("spec.template", "providerConfig needs provider");
        }
        let keyed = fields.iter().filter_map(|field| Some((field.key?, valid.get(&field.name)?.clone())));
        let mut settings: Vec<_> = keyed.filter(|(key, _)| *key != "auto-scaled").collect();
        settings.push(("auto-scaled", self.mode(given, &valid, &spec.limits)));
        settings
    }

    fn check_sizes(&mut self, valid: &BTreeMap<String, String>) {
        let size = |name: &str| valid.get(name).and_then(|text| text.parse::<Bytes>().ok());
        if let Some((initial, max)) = size("initialSize").zip(size("maxSize")).filter(|(initial, max)| initial > max) {
            self.add("spec.template.initialSize", format!("initialSize {initial} is above maxSize {max}"));
        }
    }

    /// The value of `auto-scaled`.
    fn mode(
        &mut self,
        given: &BTreeMap<String, Value>,
        valid: &BTreeMap<String, String>,
        limits: &BTreeMap<String, Value>,
    ) -> String {
        let mode = match (valid.get("mode"), given.contains_key("mode")) {
            (Some(mode), _) => mode.as_str(),
            (None, true) => FORBIDDEN,
            (None, false) => "true",
        };
        let is_valid = |name: &str| fields::limits().iter().any(|field| is_limit(field, name, limits));
        let has_ceiling = valid.contains_key("maxSize") || is_valid("maxSize") || is_valid("totalSize");
        if mode == "true" && !has_ceiling {
            let why =
                "a policy that expands PVCs needs a ceiling: set template.maxSize, limits.maxSize or limits.totalSize";
            self.add("spec", why);
            return FORBIDDEN.to_owned();
        }
        mode.to_owned()
    }

    fn limits(&mut self, given: &BTreeMap<String, Value>) -> Limits {
        let valid = self.valid("spec.limits", &fields::limits(), given);
        let size = |name: &str| valid.get(name).and_then(|text| text.parse().ok());
        let cooldown = valid.get("minCooldown").and_then(|text| values::duration(text).ok());
        Limits { max_size: size("maxSize"), max_step: size("maxStep"), min_cooldown: cooldown.unwrap_or_default() }
    }
}

/// Whether this is the field of that name, and its value is valid.
fn is_limit(field: &Field, name: &str, limits: &BTreeMap<String, Value>) -> bool {
    field.name == name && limits.get(name).is_some_and(|value| parse(field.form, value).is_ok())
}

/// The value as the annotation has it, or why it is invalid.
fn parse(form: Form, value: &Value) -> Result<String, String> {
    if form == Form::Map {
        return if value.is_object() { Ok(String::new()) } else { Err("must be an object".to_owned()) };
    }
    let is_number = matches!(form, Form::Step | Form::Size | Form::SizeAboveZero);
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if is_number => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            return Err("must be a string".to_owned());
        }
    };
    let of = |words: &[&'static str]| match words.contains(&text.as_str()) {
        true => Ok(()),
        false => Err(format!("must be one of {}", words.join(", "))),
    };
    match form {
        Form::Mode => of(&["Auto", "Recommend", "Off"])?,
        Form::Switch => of(&["Enabled", "Off"])?,
        Form::Words(words) => of(words)?,
        Form::Percentage => values::threshold(&text).map(drop)?,
        Form::Step => values::increase(&text).map(|_: Increase| ())?,
        Form::Size => values::size(&text).map(drop)?,
        Form::SizeAboveZero => values::some_size(&text).map(drop)?,
        Form::Duration => values::duration(&text).map(drop)?,
        Form::Name if text.is_empty() => return Err("must not be empty".to_owned()),
        Form::Name | Form::Map => {}
    }
    Ok(match (form, text.as_str()) {
        (Form::Mode, "Auto") | (Form::Switch, "Enabled") => "true".to_owned(),
        (Form::Mode, "Recommend") => "recommend".to_owned(),
        (Form::Mode | Form::Switch, _) => "false".to_owned(),
        (_, _) => text,
    })
}

#[cfg(test)]
mod tests;
