//! What somebody may do, in four words.

/// A role. Each is asked for by name, and some hold others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Sends windows, profiles and symbols; reads nothing.
    Push,
    /// Reads all that is stored.
    Read,
    /// Reads, and keeps events, pins and alerts.
    Write,
    /// May do all of this, and delete.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::Push, Self::Read, Self::Write, Self::Admin];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }

    /// Whether who has this role may do what `needed` may.
    pub fn may(self, needed: Self) -> bool {
        match self {
            Self::Admin => true,
            Self::Write => matches!(needed, Self::Write | Self::Read),
            Self::Read | Self::Push => needed == self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_what_its_name_says() {
        let may = |role: Role| Role::ALL.map(|needed| role.may(needed));
        assert_eq!(may(Role::Push), [true, false, false, false]);
        assert_eq!(may(Role::Read), [false, true, false, false]);
        assert_eq!(may(Role::Write), [false, true, true, false]);
        assert_eq!(may(Role::Admin), [true; 4]);
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert_eq!((Role::parse("root"), Role::parse("")), (None, None));
    }
}
