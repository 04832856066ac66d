//! The planted tail: both releases audit about one in a hundred orders, all of them one tenant's, and the collector must say so by itself.

use serde_json::Value;

use crate::Result;
use crate::api::Api;
use crate::demo::story::Story;

/// What audited orders wait for, and whose they are.
const FUNCTION: &str = "audit::recheck_price_lists";
const TENANT: &str = "umbrella";

/// What people must read of them.
pub(crate) const NAMED: &[&str] = &["recheck_price_lists", TENANT];

/// The route of orders, as a parameter.
const ROUTE: &str = "POST%20/orders";

/// How likely a difference may be one of chance.
const Q_MAX: f64 = 0.01;

/// The page that says why the slowest orders of v2 are slow.
pub(crate) fn page(story: &Story) -> String {
    let (from, until) = story.after;
    format!("/s/checkout?from={from}&until={until}&view=requests&route={ROUTE}&why=1")
}

/// The slowest 1 % of v2's orders are told apart from the others by function and by tenant.
pub(crate) fn explained(api: &Api, story: &Story) -> Result<String> {
    let (from, until) = story.after;
    let query = format!("service=checkout&route={ROUTE}&from={from}&until={until}&slowest=1");
    judge(&api.json(&format!("/api/v1/requests/compare?{query}"))?)
}

fn judge(answer: &Value) -> Result<String> {
    let differs = |entry: &&Value, side: &str| {
        let of = |whose: &str| entry[format!("{whose}_{side}")].as_f64().unwrap_or(0.0);
        entry["q"].as_f64().is_some_and(|q| q <= Q_MAX) && of("chosen") > of("others")
    };
    let cpu = entries(&answer["costs"]).iter().find(|cost| cost["type"] == "cpu");
    let functions = cpu.map(|cost| entries(&cost["functions"])).unwrap_or_default();
    let function = functions.iter().find(|function| {
        ["name", "full_name"].iter().any(|name| function[name].as_str().is_some_and(|name| name.contains(FUNCTION)))
            && differs(function, "per_request")
    });
    let Some(function) = function else {
        return Err(format!("expected {FUNCTION} among what costs significantly more CPU time, got {answer:#}").into());
    };
    let is_tenant = |label: &&Value| label["name"] == "tenant" && label["value"] == TENANT;
    let tenant = entries(&answer["labels"]).iter().find(|label| is_tenant(label) && differs(label, "share"));
    let Some(tenant) = tenant else {
        return Err(
            format!("expected tenant={TENANT} among what is significantly more frequent, got {answer:#}").into()
        );
    };
    let share = |side: &str| tenant[side].as_f64().unwrap_or(0.0) * 100.0;
    if share("chosen_share") < 50.0 {
        return Err(format!("expected most of the slowest to be of {TENANT}, got {answer:#}").into());
    }
    let said: Vec<&str> = entries(&answer["sentences"]).iter().filter_map(Value::as_str).collect();
    let unsaid: Vec<&&str> =
        NAMED.iter().filter(|name| !said.iter().any(|sentence| sentence.contains(**name))).collect();
    if !unsaid.is_empty() {
        return Err(format!("no sentence says {unsaid:?}: {answer:#}").into());
    }
    Ok(format!(
        "{:.1} ms of CPU time each in {FUNCTION}, {:.1} in the others; {:.0} % are of {TENANT}, {:.0} % of the others; in words: {}",
        function["chosen_per_request"].as_f64().unwrap_or(0.0) / 1e6,
        function["others_per_request"].as_f64().unwrap_or(0.0) / 1e6,
        share("chosen_share"),
        share("others_share"),
        said[0]
    ))
}

fn entries(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer() -> Value {
        json!({
            "sentences": ["The slowest 1 % of `POST /orders` take 60 ms longer: in `audit::recheck_price_lists`.", "98 % of them are of tenant umbrella."],
            "costs": [
                {"type": "alloc_space", "functions": []},
                {"type": "cpu", "functions": [
                    {"name": "tax::quote", "full_name": "shop::tax::quote", "chosen_per_request": 1e6, "others_per_request": 9e5, "q": 0.3},
                    {"name": "audit::recheck_price_lists", "full_name": "shop::audit::recheck_price_lists",
                     "chosen_per_request": 5.8e7, "others_per_request": 0.0, "q": 1e-6},
                ]},
            ],
            "labels": [{"name": "tenant", "value": "umbrella", "chosen_share": 0.98, "others_share": 0.2, "q": 1e-9}],
        })
    }

    #[test]
    fn an_answer_that_names_function_and_tenant_explains_the_tail() {
        let said = judge(&answer()).unwrap();
        assert!(said.contains("58.0 ms") && said.contains("98 % are of umbrella, 20 % of the others"), "{said}");
    }

    #[test]
    fn an_answer_that_lacks_one_of_them_or_calls_it_chance_does_not() {
        let wrong = [
            ("/costs/1/functions/1/full_name", json!("shop::audit::other"), "recheck_price_lists"),
            ("/costs/1/functions/1/q", json!(0.2), "recheck_price_lists"),
            ("/costs/1/functions/1/chosen_per_request", json!(0.0), "recheck_price_lists"),
            ("/costs/1/type", json!("alloc_count"), "recheck_price_lists"),
            ("/labels/0/value", json!("acme"), "tenant=umbrella"),
            ("/labels/0/q", json!(0.2), "tenant=umbrella"),
            ("/labels/0/chosen_share", json!(0.4), "most of the slowest"),
            ("/sentences/1", json!("They are slower."), "no sentence says [\"umbrella\"]"),
        ];
        for (place, value, why) in wrong {
            let mut answer = answer();
            if place.ends_with("full_name") {
                answer["costs"][1]["functions"][1]["name"] = json!("audit::other");
            }
            *answer.pointer_mut(place).unwrap() = value;
            let said = judge(&answer).unwrap_err().to_string();
            assert!(said.contains(why), "{place}: {said}");
        }
    }
}
