//! Every request that v1's people sent is counted: by then v1 is gone, so that nothing of it is still on its way.

use serde_json::Value;

use crate::Result;
use crate::api::Api;
use crate::demo::story::Story;

/// Before v1 was under load it was started, in a window of its first seconds.
const STARTED_WITHIN_MS: u64 = 60_000;

/// Compares what the gateway tells of v1 with what its people know.
pub(crate) fn are_complete(api: &Api, story: &Story) -> Result<String> {
    let (from, until) = (story.before.0 - STARTED_WITHIN_MS, story.after.0);
    let query = format!("service=gateway&label.version=v1&from={from}&until={until}");
    judge(&story.sent_before, &api.json(&format!("/api/v1/requests?{query}"))?["routes"])
}

fn judge(sent: &Value, told: &Value) -> Result<String> {
    let told = told.as_array().map(Vec::as_slice).unwrap_or_default();
    let sent = sent.as_object().filter(|sent| !sent.is_empty()).ok_or("nobody sent anything")?;
    let (mut all, mut wrong) = (0, Vec::new());
    for (route, known) in sent {
        let number = |name: &str| known[name].as_u64().ok_or_else(|| format!("the tally of {route} lacks {name}"));
        // Whoever got no answer does not know whether the shop heard.
        let (answered, sent) = (number("answered")?, number("sent")?);
        let counted = told.iter().find(|told| told["route"] == *route).and_then(|told| told["count"].as_u64());
        match counted.unwrap_or(0) {
            counted if (answered..=sent).contains(&counted) => all += counted,
            counted => wrong.push(format!("{route}: {counted} counted, {answered} answered, {sent} sent")),
        }
    }
    let strange = told.iter().filter_map(|told| told["route"].as_str()).filter(|route| !sent.contains_key(*route));
    wrong.extend(strange.map(|route| format!("{route}: nobody asked for it")));
    if wrong.is_empty() {
        Ok(format!("{all} requests on {} routes, as many as were answered", sent.len()))
    } else {
        Err(wrong.join("; ").into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_hold_when_each_answer_is_counted_once() {
        let sent = json!({"GET /search": {"sent": 12, "answered": 10}, "POST /quote": {"sent": 5, "answered": 5}});
        let told = |search: u64, quote: u64| json!([{"route": "GET /search", "count": search}, {"route": "POST /quote", "count": quote}]);
        assert!(judge(&sent, &told(10, 5)).unwrap().starts_with("15 requests on 2 routes"));
        assert!(
            judge(&sent, &told(12, 5)).is_ok(),
            "two may have been served although nobody was there for the answer"
        );
        for (search, quote, wrong) in
            [(9, 5, "GET /search: 9 counted"), (13, 5, "GET /search: 13"), (10, 6, "POST /quote: 6")]
        {
            let said = judge(&sent, &told(search, quote)).unwrap_err().to_string();
            assert!(said.contains(wrong), "{said}");
        }
        let said = judge(&sent, &json!([{"route": "GET /search", "count": 10}])).unwrap_err().to_string();
        assert!(said.contains("POST /quote: 0 counted"), "{said}");
        let mut more = told(10, 5);
        more.as_array_mut().unwrap().push(json!({"route": "GET {unmatched}", "count": 1}));
        assert!(judge(&sent, &more).unwrap_err().to_string().contains("GET {unmatched}: nobody asked"));
        assert!(judge(&json!({}), &told(10, 5)).is_err());
    }
}
