//! `app{label=value,label=value}`: how the older upload names whose a profile is.

use crate::http::error::ApiError;

/// The labels that a `name` holds; the application itself is `service_name`, if no label is called so.
///
/// # Errors
/// When there is no name before the labels, or they do not end.
pub(in crate::http) fn labels(name: &str) -> Result<Vec<(String, String)>, ApiError> {
    let refused = |what: &str| {
        let shown: String = name.chars().take(100).collect();
        ApiError::invalid(format!("name={shown:?} {what}"), "send such as name=checkout{version=v2,zone=eu-1}")
    };
    let (application, rest) = name.split_once('{').unwrap_or((name, "}"));
    let application = application.trim();
    if application.is_empty() {
        return Err(refused("names no application"));
    }
    let inner = rest.trim_end().strip_suffix('}').ok_or_else(|| refused("has no } at its end"))?;
    let mut labels = Vec::new();
    for pair in inner.split(',').filter(|pair| !pair.trim().is_empty()) {
        let (label, value) = pair.split_once('=').ok_or_else(|| refused("has a label without a value"))?;
        labels.push((label.trim().to_owned(), value.trim().trim_matches('"').to_owned()));
    }
    if !labels.iter().any(|(label, _)| label == "service_name") {
        labels.push(("service_name".to_owned(), application.to_owned()));
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str) -> Vec<String> {
        labels(name).unwrap().into_iter().map(|(label, value)| format!("{label}={value}")).collect()
    }

    #[test]
    fn names_are_read_as_sdks_write_them() {
        assert_eq!(read("checkout"), ["service_name=checkout"]);
        assert_eq!(read("checkout{}"), ["service_name=checkout"]);
        assert_eq!(
            read("shop.checkout{zone=eu-1, version=\"v2\"}"),
            ["zone=eu-1", "version=v2", "service_name=shop.checkout"]
        );
        assert_eq!(read("x{service_name=y}"), ["service_name=y"]);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for (name, says) in [("", "names no"), ("{a=b}", "names no"), ("x{a=b", "no }"), ("x{a}", "without a value")] {
            let error = labels(name).unwrap_err();
            assert!(error.to_string().contains(says), "{name}: {error}");
        }
    }
}
