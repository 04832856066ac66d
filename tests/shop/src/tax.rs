//! What the tax office wants, by region, kind of goods and day.

#[cfg(not(feature = "v2"))]
use std::collections::HashMap;

use crate::cart::{Cart, Quote, QuotedLine};
use crate::catalog::{CATEGORIES, Catalog};

/// A region: the high 16 bits name the state, the low ones the county.
pub type Region = u32;

/// Hundredths of a percent.
pub type BasisPoints = u64;

const STATES: u32 = 50;
const COUNTIES: u32 = 30;

/// The day whose rules hold all year.
#[cfg(not(feature = "v2"))]
const THIS_YEAR: u32 = 20260101;

/// One line of the tax law. Later rules build on earlier ones.
#[derive(Debug, Clone)]
struct Rule {
    /// Which bits of a region count, and what they must be: a state's rule leaves the county open.
    mask: Region,
    region: Region,
    category: u8,
    add: BasisPoints,
    /// First and last day, as yyyymmdd.
    from: u32,
    until: u32,
}

impl Rule {
    fn in_force(&self, day: u32) -> bool {
        days(self.from) <= days(day) && days(day) <= days(self.until)
    }
}

/// Whoever knows the rates: each country the shop delivers to has its own.
pub trait TaxOffice: Send + Sync {
    /// The rate for goods of a category, delivered to a region on a day.
    fn rate_for(&self, region: Region, category: u8, day: u32) -> BasisPoints;
}

/// All rules of all states and counties.
#[derive(Debug)]
pub struct TaxRules {
    #[cfg(feature = "v2")]
    rules: Vec<Rule>,
    #[cfg(not(feature = "v2"))]
    rates: HashMap<(Region, u8), BasisPoints>,
}

/// Some region, for any number.
pub fn region(number: u32) -> Region {
    (number % STATES) << 16 | (number / STATES % COUNTIES)
}

#[cfg(not(feature = "v2"))]
impl TaxRules {
    /// Works out every combination once, for the year.
    pub fn load() -> Self {
        let mut rates = HashMap::new();
        for rule in law().into_iter().filter(|rule| rule.in_force(THIS_YEAR)) {
            let counties = if rule.mask == Region::MAX {
                rule.region..rule.region + 1
            } else {
                rule.region..rule.region + COUNTIES
            };
            for region in counties {
                *rates.entry((region, rule.category)).or_default() += rule.add;
            }
        }
        Self { rates }
    }
}

#[cfg(not(feature = "v2"))]
impl TaxOffice for TaxRules {
    fn rate_for(&self, region: Region, category: u8, _day: u32) -> BasisPoints {
        self.rates.get(&(region, category)).copied().unwrap_or(0)
    }
}

#[cfg(feature = "v2")]
impl TaxRules {
    /// Reads the law. It may change during the day now, so nothing is worked out ahead.
    pub fn load() -> Self {
        Self { rules: law() }
    }
}

#[cfg(feature = "v2")]
impl TaxOffice for TaxRules {
    fn rate_for(&self, region: Region, category: u8, day: u32) -> BasisPoints {
        let mut rate = 0;
        for rule in &self.rules {
            if rule.in_force(day) && rule.region == region & rule.mask && rule.category == category {
                rate += rule.add;
            }
        }
        rate
    }
}

/// Days since the year 0 for yyyymmdd, near enough to compare.
fn days(date: u32) -> u32 {
    date / 10_000 * 372 + date / 100 % 100 * 31 + date % 100
}

/// Puts a price and its tax on every line.
pub fn quote(cart: &Cart, catalog: &Catalog, taxes: &dyn TaxOffice) -> Quote {
    let mut quote = Quote { lines: Vec::with_capacity(cart.lines.len()), net_cents: 0, tax_cents: 0 };
    for line in &cart.lines {
        let product = catalog.product(line.product);
        let net_cents = product.price_cents * u64::from(line.quantity);
        let tax_cents = net_cents * taxes.rate_for(cart.region, product.category, cart.day) / 10_000;
        quote.net_cents += net_cents;
        quote.tax_cents += tax_cents;
        quote.lines.push(QuotedLine { name: product.name.clone(), quantity: line.quantity, net_cents, tax_cents });
    }
    quote
}

/// What shipping adds: it is taxed like the goods of category 0.
pub fn shipping_cents(cart: &Cart, taxes: &dyn TaxOffice) -> u64 {
    let net_cents = 490 + 10 * cart.lines.len() as u64;
    net_cents + net_cents * taxes.rate_for(cart.region, 0, cart.day) / 10_000
}

/// One rule for each state and category, then one for each county and every other category.
fn law() -> Vec<Rule> {
    let always = |mask, region, category, add| Rule { mask, region, category, add, from: 20200101, until: 20991231 };
    let mut rules = Vec::new();
    for state in 0..STATES {
        for category in 0..CATEGORIES {
            rules.push(always(
                0xffff_0000,
                state << 16,
                category,
                400 + u64::from(state * 7 + u32::from(category) * 13),
            ));
        }
        for county in 0..COUNTIES {
            for category in (0..CATEGORIES).step_by(2) {
                rules.push(always(Region::MAX, state << 16 | county, category, u64::from(county % 9) * 25));
            }
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_and_county_rules_add_up() {
        let rules = TaxRules::load();
        let county = 3 << 16 | 4;
        assert_eq!(rules.rate_for(county, 2, 20260501), 400 + 3 * 7 + 2 * 13 + 4 * 25);
        assert_eq!(rules.rate_for(county, 1, 20260501), 400 + 3 * 7 + 13);
    }
}
