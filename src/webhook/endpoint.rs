//! The hooks by name: the path, the rule in the chart, and the label in the metrics of each.

/// The hooks. Each has its path, its rule in the chart, and its label in the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Protects the annotations that only the operator writes.
    State,
    /// Absorbs changed volumeClaimTemplates.
    Absorb,
    /// Raises new PVCs to the size of their siblings.
    Floor,
    /// Adds the agent to new pods.
    Agent,
}

impl Hook {
    /// All hooks.
    pub const ALL: [Self; 4] = [Self::State, Self::Absorb, Self::Floor, Self::Agent];

    /// The label in the metrics, the first part of the path, and the first label of the webhook's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Absorb => "absorb",
            Self::Floor => "floor",
            Self::Agent => "agent",
        }
    }

    /// The hook of a path, and what follows it: the token of the caller, if any.
    pub fn at(path: &str) -> Option<(Self, &str)> {
        let (name, token) = path.strip_prefix('/').map(|path| path.split_once('/').unwrap_or((path, "")))?;
        Self::ALL.into_iter().find(|hook| hook.as_str() == name).map(|hook| (hook, token))
    }
}
