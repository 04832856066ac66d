//! The goods: generated once, searched often.

use std::fmt::Write as _;

use serde::Serialize;

const ADJECTIVES: [&str; 12] = [
    "Basalt", "Cinder", "Obsidian", "Amber", "Cobalt", "Quiet", "Rapid", "Folding", "Alpine", "Spare", "Woollen",
    "Iron",
];
const NOUNS: [&str; 14] = [
    "kettle", "lantern", "tent", "jacket", "notebook", "compass", "mug", "blanket", "stove", "bottle", "map", "boot",
    "rope", "radio",
];

/// How many kinds of goods the tax office tells apart.
pub const CATEGORIES: u8 = 8;

/// Something to buy.
#[derive(Debug, Clone, Serialize)]
pub struct Product {
    /// Position in the catalog.
    pub id: u32,
    /// What it is called.
    pub name: String,
    /// What is said about it.
    pub description: String,
    /// Tax category, below [`CATEGORIES`].
    pub category: u8,
    /// Price without tax.
    pub price_cents: u64,
}

/// Everything the shop sells.
#[derive(Debug)]
pub struct Catalog {
    products: Vec<Product>,
}

impl Catalog {
    /// Makes a catalog of `count` products, the same one each time.
    pub fn generate(count: u32) -> Self {
        let product = |id: u32| {
            let adjective = ADJECTIVES[id as usize % ADJECTIVES.len()];
            let noun = NOUNS[id as usize / 3 % NOUNS.len()];
            Product {
                id,
                name: format!("{adjective} {noun} No. {id}"),
                description: format!("A {noun} for days when {adjective} things matter, made to be mended and kept."),
                category: (id % u32::from(CATEGORIES)) as u8,
                price_cents: 199 + u64::from(id.wrapping_mul(2_654_435_761) % 20_000),
            }
        };
        Self { products: (0..count).map(product).collect() }
    }

    /// All of them, by number.
    pub fn products(&self) -> &[Product] {
        &self.products
    }

    /// Looks a product up. Numbers wrap, so that every number names one.
    pub fn product(&self, id: u32) -> &Product {
        &self.products[id as usize % self.products.len()]
    }

    /// Finds the products that match most words of `query`, best first, cheaper ones first among equals.
    pub fn search(&self, query: &str, limit: usize) -> Vec<&Product> {
        let words: Vec<String> = query.split_whitespace().map(str::to_lowercase).collect();
        let mut hits: Vec<(usize, &Product)> = self
            .products
            .iter()
            .map(|product| (relevance(product, &words), product))
            .filter(|(score, _)| *score > 0)
            .collect();
        rank(&mut hits);
        hits.into_iter().take(limit).map(|(_, product)| product).collect()
    }

    /// The whole catalog as CSV, dearest first.
    pub fn report(&self) -> String {
        let mut sorted: Vec<&Product> = self.products.iter().collect();
        sorted.sort_by(|a, b| b.price_cents.cmp(&a.price_cents).then_with(|| a.name.cmp(&b.name)));
        let mut csv = String::from("id,name,category,cents,description\n");
        for product in sorted {
            let Product { id, name, category, price_cents, description } = product;
            let _ = writeln!(csv, "{id},\"{name}\",{category},{price_cents},\"{description}\"");
        }
        csv
    }
}

fn relevance(product: &Product, words: &[String]) -> usize {
    let text = format!("{} {}", product.name, product.description).to_lowercase();
    words.iter().filter(|word| text.contains(word.as_str())).count()
}

fn rank(hits: &mut [(usize, &Product)]) {
    hits.sort_by(|(a_score, a), (b_score, b)| {
        b_score.cmp(a_score).then_with(|| a.price_cents.cmp(&b.price_cents)).then_with(|| a.name.cmp(&b.name))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_puts_the_best_match_first() {
        let catalog = Catalog::generate(500);
        let hits = catalog.search("basalt kettle", 10);
        assert!(hits[0].name.starts_with("Basalt kettle"), "{}", hits[0].name);
        assert_eq!(hits.len(), 10);
    }
}
