//! The label sets of the metrics with a series of their own for each.

use super::series::labels;

labels! {
    OfSet { namespace: String, statefulset: String, result: &'static str }
    OfResize {
        namespace: String, statefulset: String, volume_claim_template: String, trigger: &'static str, result: &'static str,
    }
    OfPhase { phase: &'static str }
    OfClass { storageclass: String }
    OfWebhook { webhook: &'static str, code: u16 }
    OfReconcile { controller: &'static str, result: &'static str }
    OfController { controller: &'static str }
    OfQueue { name: &'static str }
    OfRequest { code: String, method: String }
    OfUsageRequest { source: &'static str, result: &'static str }
    OfBuild { version: &'static str }
}
