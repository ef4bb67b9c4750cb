//! The registration of every metric: its name, its labels, and its help text.

use prometheus_client::registry::Metric;

use super::label_sets::{
    OfBuild, OfClass, OfController, OfPhase, OfQueue, OfReconcile, OfRequest, OfResize, OfSet, OfUsageRequest,
    OfWebhook,
};
use super::series::Labels;
use super::volumes::{CLAIM, DECISION, OfVolume, TEMPLATE, VOLUME};
use super::{Metrics, reference};

impl Metrics {
    /// Registers every metric.
    pub(super) fn register(&mut self) {
        self.register_volumes();
        self.register_expansion();
        self.register_operator();
    }

    fn register_volumes(&mut self) {
        let help = "Size of the filesystem";
        self.add(
            "rso_volume_capacity_bytes",
            &VOLUME,
            help,
            self.volumes.usage(|volume| Some(volume.usage?.capacity.0)),
        );
        self.add(
            "rso_volume_used_bytes",
            &VOLUME,
            "Used space",
            self.volumes.usage(|volume| Some(volume.usage?.used.0)),
        );
        let help = "Space that an unprivileged user can still write";
        self.add(
            "rso_volume_available_bytes",
            &VOLUME,
            help,
            self.volumes.usage(|volume| Some(volume.usage?.available.0)),
        );
        let help = "Inodes of the filesystem, if it has a fixed number of them";
        self.add("rso_volume_inodes", &VOLUME, help, self.volumes.usage(|volume| Some(volume.usage?.inodes?.0)));
        self.add(
            "rso_volume_inodes_used",
            &VOLUME,
            "Inodes in use",
            self.volumes.usage(|volume| Some(volume.usage?.inodes?.1)),
        );
        let help = "Time of the last measurement of the volume, as Unix time";
        let seconds = |volume: &OfVolume| u64::try_from(volume.usage?.at.as_second()).ok();
        self.add("rso_volume_reading_timestamp_seconds", &VOLUME, help, self.volumes.usage(seconds));
        let help = "Time since the last measurement of the volume that was measured the longest ago, at the time of the scrape; 0 if there is none";
        self.add("rso_usage_oldest_reading_seconds", &[], help, self.oldest_reading.clone());
        let help = "Requests for the usage of volumes to an agent or a kubelet, by result: `ok`; `held` if an agent held the request until there was something to report; otherwise why not, or why there is no answer";
        self.add("rso_usage_requests", OfUsageRequest::NAMES, help, self.usage_requests.family.clone());
        let help = "Requests that agents hold; each is an open connection. At most 4,096";
        self.add("rso_usage_requests_held", &[], help, self.held_requests.clone());
    }

    fn register_expansion(&mut self) {
        let help = "Storage request of the PVC";
        self.add("rso_claim_requested_bytes", &CLAIM, help, self.volumes.claim_requested());
        let help = "Storage request of the StatefulSet's template";
        self.add("rso_template_requested_bytes", &TEMPLATE, help, self.volumes.template_requested());
        let help = "1 for the last decision, with the reason of its Event, if there was one";
        self.add("rso_decision_info", &DECISION, help, self.volumes.decision());
        let help = "Template expansions";
        self.add("rso_resizes", OfResize::NAMES, help, self.resizes.family.clone());
        let help = "Duration of a phase of an expansion";
        self.add("rso_resize_duration_seconds", OfPhase::NAMES, help, self.resize_time.family.clone());
        let help = "Longest of the last eight expansions in a StorageClass, from the request until the PVC has the larger size; on the leader, since it leads";
        self.add("rso_expansion_reaction_seconds", OfClass::NAMES, help, self.reaction.family.clone());
        let help = "Number of expansions of which `rso_expansion_reaction_seconds` is the longest: at most 8";
        self.add("rso_expansion_reaction_samples", OfClass::NAMES, help, self.reaction_samples.family.clone());
        let help = "Recreations of a StatefulSet with a larger template";
        self.add("rso_template_recreates", OfSet::NAMES, help, self.recreates.family.clone());
        let help = "How long the name of a StatefulSet was absent during a recreation";
        self.add("rso_template_absent_seconds", &[], help, self.absent.clone());
        let help = "Pods that a recreation restarted. Must stay 0; alert on any other value";
        self.add("rso_pod_restarts_caused", &[], help, self.restarts.clone());
        let help = "Recreations that have been in one phase for more than a minute; the Events of the StatefulSet say what they wait for";
        self.add("rso_recreates_stuck", &[], help, self.stuck.clone());
    }

    fn register_operator(&mut self) {
        let help = "Admission requests by the code of the response";
        self.add("rso_webhook_requests", OfWebhook::NAMES, help, self.webhook.family.clone());
        let help = "Events that could not be written";
        self.add("rso_events_dropped", &[], help, self.events_dropped.clone());
        self.add("rso_build_info", OfBuild::NAMES, "1, with the version", self.build.family.clone());
        let help = "Reconciliations by result";
        self.add("controller_runtime_reconcile", OfReconcile::NAMES, help, self.reconciles.family.clone());
        let help = "Reconciliations that failed";
        self.add(
            "controller_runtime_reconcile_errors",
            OfController::NAMES,
            help,
            self.reconcile_errors.family.clone(),
        );
        let help = "Duration of a reconciliation";
        self.add(
            "controller_runtime_reconcile_time_seconds",
            OfController::NAMES,
            help,
            self.reconcile_time.family.clone(),
        );
        self.add(
            "workqueue_depth",
            OfQueue::NAMES,
            "StatefulSets that wait to be reconciled",
            self.depth.family.clone(),
        );
        let help = "Requests to the API server by method and code; `<error>` if there was no response";
        self.add("rest_client_requests", OfRequest::NAMES, help, self.requests.family.clone());
        let help = "1 on the leader, 0 on the other replicas";
        self.add("leader_election_master_status", OfQueue::NAMES, help, self.leads.family.clone());
    }

    fn add(&mut self, name: &'static str, labels: &'static [&'static str], help: &'static str, metric: impl Metric) {
        self.described.push(reference::Described { name, kind: metric.metric_type(), labels, help });
        self.registry.register(name, help, metric);
    }
}
