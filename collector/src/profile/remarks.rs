//! What an import did to a profile besides storing it: nothing is changed or left out without a word.

/// Names that are told; of further ones only the number is.
const NAMED_MAX: usize = 32;

/// What there is to say about one import.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remarks {
    /// Names of types, units and labels that were made fit, as they were and as they are now; the first [`NAMED_MAX`].
    pub renamed: Vec<(String, String)>,
    /// All names that were made fit: texts that are no UTF-8, names that are too long and values of labels among them.
    pub names_made_fit: u64,
    /// Samples that came without a stack: they stand under `[unknown]`.
    pub samples_without_stack: u64,
    /// Samples whose stack was deeper than stacks may be: they lost frames at the root, which is marked.
    pub samples_cut: u64,
    /// Types and labels that could not be stored, and why; the first [`NAMED_MAX`].
    pub left_out: Vec<LeftOut>,
}

/// A part of a profile that was not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name in the profile.
    pub name: String,
    /// As part of a sentence: "it …".
    pub why: String,
}

impl Remarks {
    /// Takes note of a name that is called otherwise now.
    pub(super) fn fitted(&mut self, was: &str, is: &str) {
        if was == is {
            return;
        }
        self.names_made_fit += 1;
        if self.renamed.len() < NAMED_MAX {
            self.renamed.push((super::names::printable(was), is.to_owned()));
        }
    }

    /// Takes note of what is not stored.
    pub(super) fn leave_out(&mut self, name: &str, why: impl Into<String>) {
        if self.left_out.len() < NAMED_MAX {
            self.left_out.push(LeftOut { name: super::names::printable(name), why: why.into() });
        }
    }
}
