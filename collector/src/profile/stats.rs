//! The tests behind "this changed": Welch over replicates, exact binomial on counts, Fisher's on shares, and the false-discovery rate.

/// Replicates of one quantity: what Welch's test needs of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Replicates {
    /// How many.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// Their variance, with n − 1 in the denominator.
    pub variance: f64,
}

/// The sum of some values: 0 of none, where `Iterator::sum` says −0, which people would see.
pub fn sum(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(0.0, |sum, value| sum + value)
}

impl Replicates {
    /// Of these values.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len();
        let mean = if n == 0 { 0.0 } else { sum(values.iter().copied()) / n as f64 };
        let squares = sum(values.iter().map(|v| (v - mean) * (v - mean)));
        let variance = if n < 2 { 0.0 } else { squares / (n - 1) as f64 };
        Self { n, mean, variance }
    }
}

/// Two-sided p-value of "the means differ" by Welch's t-test. `None` where it cannot say: fewer than two replicates on a
/// side, or no variance at all.
pub fn welch(a: Replicates, b: Replicates) -> Option<f64> {
    if a.n < 2 || b.n < 2 {
        return None;
    }
    let (va, vb) = (a.variance / a.n as f64, b.variance / b.n as f64);
    let variance = va + vb;
    if !variance.is_finite() || variance <= 0.0 {
        return None;
    }
    let t = (a.mean - b.mean) / variance.sqrt();
    let df = variance * variance / (va * va / (a.n - 1) as f64 + vb * vb / (b.n - 1) as f64);
    Some(student_two_sided(t, df))
}

/// P(|T| ≥ |t|) for Student's t with `df` degrees of freedom.
pub fn student_two_sided(t: f64, df: f64) -> f64 {
    incomplete_beta(df / (df + t * t), df / 2.0, 0.5)
}

/// Two-sided p-value of "`k` of `n` is not a share of `p`": twice the smaller tail of the binomial, at most 1.
pub fn binomial_two_sided(k: u64, n: u64, p: f64) -> f64 {
    if n == 0 || !(p > 0.0 && p < 1.0) {
        return 1.0;
    }
    let k = k.min(n);
    // P(X ≥ k) = I_p(k, n − k + 1).
    let at_least = |k: u64| if k == 0 { 1.0 } else { incomplete_beta(p, k as f64, (n - k) as f64 + 1.0) };
    let upper = at_least(k);
    let lower = if k == n { 1.0 } else { 1.0 - at_least(k + 1) };
    (2.0 * upper.min(lower)).clamp(0.0, 1.0)
}

/// Two-sided p-value of "the shares `having[0]` of `of[0]` and `having[1]` of `of[1]` differ", by Fisher's exact test: the probability of
/// all tables with these margins that are no likelier than this one. 1 where there is nothing to compare.
pub fn fisher_two_sided(having: [u64; 2], of: [u64; 2]) -> f64 {
    let [a, b] = having.map(|n| n as f64);
    let [n, m] = of.map(|n| n as f64);
    if n == 0.0 || m == 0.0 || a > n || b > m {
        return 1.0;
    }
    let both = a + b;
    let ln_probability = |a: f64| ln_choose(n, a) + ln_choose(m, both - a) - ln_choose(n + m, both);
    let limit = ln_probability(a) + 1e-7;
    let (mut sum, mut k) = (0.0, (both - m).max(0.0));
    while k <= both.min(n) {
        let ln = ln_probability(k);
        if ln <= limit {
            sum += ln.exp();
        }
        k += 1.0;
    }
    sum.clamp(0.0, 1.0)
}

/// One-sided p-value of "the share `having[1]` of `of[1]` is larger than `having[0]` of `of[0]`", by Fisher's exact test: the probability that of as
/// many in all at least `having[1]` fall on the second side. 1 where there is nothing to compare.
pub fn fisher_more(having: [u64; 2], of: [u64; 2]) -> f64 {
    if (0..2).any(|side| of[side] == 0 || having[side] > of[side]) {
        return 1.0;
    }
    let [n, m] = of.map(|n| n as f64);
    let both = (having[0] + having[1]) as f64;
    let ln_all = ln_choose(n + m, both);
    let (mut sum, mut k) = (0.0, having[1] as f64);
    while k <= both.min(m) {
        let term = (ln_choose(n, both - k) + ln_choose(m, k) - ln_all).exp();
        sum += term;
        // Past the most likely number they only become smaller.
        if term < sum * 1e-17 && k > both * m / (n + m) {
            break;
        }
        k += 1.0;
    }
    sum.clamp(0.0, 1.0)
}

/// The logarithm of "k of n", for 0 ≤ k ≤ n.
fn ln_choose(n: f64, k: f64) -> f64 {
    ln_gamma(n + 1.0) - ln_gamma(k + 1.0) - ln_gamma(n - k + 1.0)
}

/// Benjamini–Hochberg: for each p-value the smallest false-discovery rate at which it would be called a finding, among
/// `tests` tests (at least as many as p-values are given; the others count as "no evidence").
pub fn false_discovery_rates(p: &[f64], tests: usize) -> Vec<f64> {
    let tests = tests.max(p.len()) as f64;
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_unstable_by(|&a, &b| p[b].total_cmp(&p[a]));
    let mut q = vec![1.0; p.len()];
    let mut least = 1.0f64;
    for (from_end, &i) in order.iter().enumerate() {
        let rank = (p.len() - from_end) as f64;
        least = least.min(p[i] * tests / rank);
        q[i] = least;
    }
    q
}

/// I_x(a, b), the regularized incomplete beta function, by its continued fraction.
pub fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x.is_nan() || a.is_nan() || b.is_nan() {
        return 1.0;
    }
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp();
    // The fraction converges quickly on one side of the mean only; the other follows by symmetry.
    if x < (a + 1.0) / (a + b + 2.0) {
        (front * beta_fraction(x, a, b) / a).clamp(0.0, 1.0)
    } else {
        (1.0 - front * beta_fraction(1.0 - x, b, a) / b).clamp(0.0, 1.0)
    }
}

/// Lentz's evaluation; it needs about √max(a, b) terms.
fn beta_fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away_from_zero = |v: f64| if v.abs() < TINY { TINY } else { v };
    let terms = 200 + 5 * a.max(b).sqrt() as usize;
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for m in 1..=terms.min(1_000_000) {
        let m = m as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away_from_zero(1.0 + even * d);
        c = away_from_zero(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away_from_zero(1.0 + odd * d);
        c = away_from_zero(1.0 + odd / c);
        fraction *= d * c;
        if (d * c - 1.0).abs() < 1e-14 {
            break;
        }
    }
    fraction
}

/// ln Γ(x) for x > 0, by Lanczos' approximation (g = 7, 9 terms): 15 digits.
fn ln_gamma(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        // Reflection, for the half-integers Student's t brings in.
        return (std::f64::consts::PI / (std::f64::consts::PI * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let t = x + 7.5;
    let start = 0.999_999_999_999_809_9;
    let sum = COEFFICIENTS.iter().enumerate().fold(start, |sum, (i, c)| sum + c / (x + i as f64 + 1.0));
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(actual: f64, expected: f64) {
        let error = (actual - expected).abs() / expected.abs().max(1e-12);
        assert!(error < 1e-6, "{actual} is not {expected}");
    }

    #[test]
    fn student_agrees_with_tables() {
        close(student_two_sided(2.228_138_852, 10.0), 0.05);
        close(student_two_sided(12.706_204_736, 1.0), 0.05);
        close(student_two_sided(3.169_272_673, 10.0), 0.01);
        close(student_two_sided(-1.959_963_985, 1e9), 0.05);
        close(student_two_sided(0.0, 5.0), 1.0);
        // df = 2 has a closed form: p = 1 − t/√(2 + t²).
        close(student_two_sided(1e3, 2.0), 1.0 - 1e3 / (2.0f64 + 1e6).sqrt());
    }

    #[test]
    fn welch_agrees_with_a_worked_example() {
        // t = -2.949 with 27.31 degrees of freedom, its density integrated by Simpson's rule in 10⁵ steps.
        let a = [27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4];
        let b = [27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 30.5, 31.3];
        let p = welch(Replicates::of(&a), Replicates::of(&b)).unwrap();
        close(p, 0.006_460_408_027);
    }

    #[test]
    fn welch_does_not_speak_without_variance() {
        assert_eq!(welch(Replicates::of(&[1.0; 9]), Replicates::of(&[2.0; 9])), None);
        assert_eq!(welch(Replicates::of(&[1.0]), Replicates::of(&[2.0, 3.0])), None);
    }

    #[test]
    fn the_binomial_agrees_with_hand_counts() {
        // 2 × (1 + 10 + 45) / 1024.
        close(binomial_two_sided(2, 10, 0.5), 2.0 * 56.0 / 1024.0);
        close(binomial_two_sided(8, 10, 0.5), 2.0 * 56.0 / 1024.0);
        close(binomial_two_sided(5, 10, 0.5), 1.0);
        close(binomial_two_sided(0, 20, 0.5), 2.0 * 0.5f64.powi(20));
        close(binomial_two_sided(3, 3, 0.25), 2.0 / 64.0);
        assert_eq!(binomial_two_sided(0, 0, 0.5), 1.0);
    }

    #[test]
    fn the_binomial_holds_for_large_counts() {
        // 10⁹ draws, two standard deviations off: the normal's 0.0455.
        let n = 1_000_000_000u64;
        let k = n / 2 + (n as f64).sqrt() as u64;
        let p = binomial_two_sided(k, n, 0.5);
        assert!((p - 0.0455).abs() < 0.0002, "{p}");
    }

    #[test]
    fn one_sided_fisher_agrees_with_counting() {
        // Of 10 things 3 are marked and 3 are drawn.
        close(fisher_more([0, 3], [7, 3]), 1.0 / 120.0);
        close(fisher_more([2, 1], [7, 3]), 1.0 - 35.0 / 120.0);
        close(fisher_more([3, 0], [7, 3]), 1.0);
        close(fisher_more([0, 14], [1_191, 24]), fisher_two_sided([0, 14], [1_191, 24]));
        assert_eq!(fisher_more([1, 0], [0, 9]), 1.0, "there is no other side");
        assert_eq!(fisher_more([0, 10], [9, 9]), 1.0, "nonsense");
    }

    #[test]
    fn benjamini_hochberg_agrees_with_its_paper_s_rule() {
        let q = false_discovery_rates(&[0.01, 0.04, 0.03, 0.005], 4);
        for (actual, expected) in q.iter().zip([0.02, 0.04, 0.04, 0.02]) {
            close(*actual, expected);
        }
        close(false_discovery_rates(&[0.01], 50)[0], 0.5);
        assert!(false_discovery_rates(&[], 0).is_empty());
    }
}
