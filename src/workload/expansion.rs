//! The state of the expansion of a PVC, read from its status.

use crate::api::bytes::Bytes;
use crate::api::received::{ClaimStatus, Storage};
use crate::policy::claim::Resize;

/// Where the expansion of a PVC is. Since 1.34, a word in the status says it; older servers, and resizers without the
/// word, use conditions.
pub(super) fn resize(status: &ClaimStatus, requested: Bytes) -> Resize {
    let Some(word) = text(status.allocated_resource_statuses.as_ref()) else {
        return if condition(status, "FileSystemResizePending").is_some() {
            Resize::FileSystemResizePending
        } else if condition(status, "Resizing").is_some() {
            Resize::ControllerInProgress
        } else {
            Resize::None
        };
    };
    // The driver refused the size that it tried, which after a smaller request is still the one before.
    let tried = text(status.allocated_resources.as_ref()).and_then(|size| size.parse().ok()).unwrap_or(requested);
    let state = with_node_error(Resize::from_word(word), status);
    if state == Resize::NodeInfeasible && tried != requested {
        Resize::NodePending
    } else if state == Resize::ControllerInfeasible && tried != requested {
        Resize::ControllerInProgress
    } else {
        state
    }
}

/// If the driver expands volumes on the node alone, external-resizer 2.3 turns `NodeResizeInfeasible` back into
/// `NodeResizePending` within moments (measured), over and over; the condition of the kubelet stays.
fn with_node_error(word: Resize, status: &ClaimStatus) -> Resize {
    let under_way = matches!(word, Resize::NodePending | Resize::NodeInProgress);
    let Some(said) = condition(status, "NodeResizeError").filter(|_| under_way) else { return word };
    let said_code = |code: &str| said.contains(&format!("code = {code} "));
    if ["OutOfRange", "InvalidArgument", "NotFound"].into_iter().any(said_code) {
        return Resize::NodeInfeasible;
    }
    // The driver does not expand it while it is in use.
    if said_code("FailedPrecondition") { Resize::FileSystemResizePending } else { word }
}

/// The message of a condition that is true.
fn condition<'a>(status: &'a ClaimStatus, kind: &str) -> Option<&'a str> {
    let mut conditions = status.conditions.iter().flatten();
    let found = conditions.find(|condition| condition.kind == kind && condition.status == "True")?;
    Some(found.message.as_deref().unwrap_or_default())
}

fn text(storage: Option<&Storage>) -> Option<&str> {
    storage?.storage.as_deref()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(status: &Value) -> Resize {
        resize(&serde_json::from_value(status.clone()).unwrap(), Bytes::gib(8))
    }

    #[test]
    fn an_expansion_is_seen_by_its_word_or_else_by_its_condition() {
        let check = |status: Value, expected| assert_eq!(read(&status), expected, "{status}");
        let word = |word: &str| json!({"allocatedResourceStatuses": {"storage": word}});
        let condition = |kind: &str, status: &str| json!({"conditions": [{"type": kind, "status": status}]});
        check(json!({}), Resize::None);
        check(word("ControllerResizeInProgress"), Resize::ControllerInProgress);
        check(word("NodeResizeInfeasible"), Resize::NodeInfeasible);
        check(condition("Resizing", "True"), Resize::ControllerInProgress);
        check(condition("Resizing", "False"), Resize::None);
        check(condition("FileSystemResizePending", "True"), Resize::FileSystemResizePending);
        check(condition("Unused", "True"), Resize::None);
    }

    #[test]
    fn a_refusal_by_the_node_is_seen_although_the_resizer_rubs_it_out() {
        let check = |word: &str, tried: &str, error: &str, expected: Resize| {
            let message = format!("failed to expand pvc with … rpc error: code = {error} desc = why");
            let status = json!({
                "allocatedResources": {"storage": tried},
                "allocatedResourceStatuses": {"storage": word},
                "conditions": [{"type": "NodeResizeError", "status": "True", "message": message}],
            });
            assert_eq!(read(&status), expected, "{status}");
        };
        check("NodeResizePending", "8Gi", "OutOfRange", Resize::NodeInfeasible);
        check("NodeResizeInProgress", "8Gi", "OutOfRange", Resize::NodeInfeasible);
        check("NodeResizeInfeasible", "8Gi", "OutOfRange", Resize::NodeInfeasible);
        check("NodeResizePending", "8Gi", "Unavailable", Resize::NodePending);
        check("NodeResizeInProgress", "8Gi", "FailedPrecondition", Resize::FileSystemResizePending);
        // The size asked for since is smaller, and was not tried yet.
        check("NodeResizeInfeasible", "9Gi", "OutOfRange", Resize::NodePending);
        check("NodeResizePending", "9Gi", "OutOfRange", Resize::NodePending);
        check("ControllerResizeInfeasible", "9Gi", "", Resize::ControllerInProgress);
        check("ControllerResizeInfeasible", "8Gi", "", Resize::ControllerInfeasible);
    }
}
