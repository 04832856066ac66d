//! What a candidate may cost: `name = value` lines, so that a budget can be reviewed like code.

/// How much worse a candidate may be. Shares are of the baseline's total.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Budget {
    /// By how much the total may rise.
    pub(super) total: f64,
    /// By how much any one function may rise.
    pub(super) function: f64,
    /// Samples each side needs before anything can be said.
    pub(super) samples: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { total: 0.05, function: 0.02, samples: 1_000 }
    }
}

impl Budget {
    /// Reads a budget file. What it does not name keeps its default.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut budget = Self::default();
        for (i, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let problem = |what: String| format!("line {}: {what}", i + 1);
            let Some((name, value)) = line.split_once('=').map(|(name, value)| (name.trim(), value.trim())) else {
                return Err(problem(format!("{line:?} is not name = value, such as total = 5%")));
            };
            match name {
                "total" => budget.total = share(value).map_err(problem)?,
                "function" => budget.function = share(value).map_err(problem)?,
                "samples" => {
                    let samples = value.parse().map_err(|_| problem(format!("{value:?} is not a number of samples")));
                    budget.samples = samples?;
                }
                _ => return Err(problem(format!("{name:?} is not known; known: total, function, samples"))),
            }
        }
        Ok(budget)
    }
}

/// `5%` or `0.05`.
fn share(value: &str) -> Result<f64, String> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
    let share = match value.strip_suffix('%') {
        Some(percent) => number(percent).map(|percent| percent / 100.0),
        None => number(value),
    };
    share.ok_or_else(|| format!("{value:?} is not a share, such as 5%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_read_line_by_line() {
        let text = "# checkout may grow a little\ntotal = 10%\n\nfunction = 0.5 % # each\nsamples=200\n";
        assert_eq!(Budget::parse(text), Ok(Budget { total: 0.1, function: 0.005, samples: 200 }));
        assert_eq!(Budget::parse(""), Ok(Budget::default()));
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, message) in [
            ("total = 5%\ntotl = 5%", "line 2: \"totl\" is not known"),
            ("total", "line 1: \"total\" is not name = value"),
            ("total = many", "line 1: \"many\" is not a share"),
            ("total = -5%", "is not a share"),
            ("total = NaN", "is not a share"),
            ("samples = 1e3", "is not a number of samples"),
        ] {
            let problem = Budget::parse(text).unwrap_err();
            assert!(problem.contains(message), "{problem}");
        }
    }
}
