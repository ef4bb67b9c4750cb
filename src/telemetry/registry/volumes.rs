//! The gauges of volumes and templates: one copy of the values, from which the series of every metric are rendered. A series
//! of its own for each would keep its labels several times, which was most of the memory of a volume.

use std::collections::BTreeMap;
use std::fmt::{Debug, Error};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;

use crate::api::bytes::Bytes;
use crate::api::names::{ClaimName, Ordinal, SetName, TemplateName, pod_name};

/// The labels of a template; those of a PVC, of a volume, and of a decision begin with them.
pub(super) const TEMPLATE: [&str; 3] = ["namespace", "statefulset", "volume_claim_template"];
pub(super) const CLAIM: [&str; 4] = [TEMPLATE[0], TEMPLATE[1], TEMPLATE[2], "persistentvolumeclaim"];
pub(super) const VOLUME: [&str; 5] = [CLAIM[0], CLAIM[1], CLAIM[2], CLAIM[3], "pod"];
pub(super) const DECISION: [&str; 5] = [TEMPLATE[0], TEMPLATE[1], TEMPLATE[2], "decision", "reason"];

/// A volume: the PVC of a template and an ordinal of a StatefulSet.
#[derive(Clone, Copy, Debug)]
pub struct Volume<'a> {
    /// The StatefulSet.
    pub set: &'a SetName,
    /// The template of the PVC.
    pub template: &'a TemplateName,
    /// The ordinal of its Pod.
    pub ordinal: Ordinal,
}

/// The usage of a volume.
#[derive(Clone, Copy, Debug)]
pub struct VolumeUsage {
    /// The size of the filesystem.
    pub capacity: Bytes,
    /// The used space.
    pub used: Bytes,
    /// The space that an unprivileged user can still write.
    pub available: Bytes,
    /// All inodes and those in use, if there is a fixed number.
    pub inodes: Option<(u64, u64)>,
    /// When it was measured.
    pub at: Timestamp,
}

/// The values of all StatefulSets. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Volumes(Arc<Mutex<BTreeMap<SetName, OfSet>>>);

/// In the order in which they were first seen. A StatefulSet has few templates, and most have few replicas: a map of its own
/// for each would be larger than what it contains.
type OfSet = Vec<(TemplateName, OfTemplate)>;

/// The values of a template.
#[derive(Debug, Default)]
pub(super) struct OfTemplate {
    pub(super) template_requested: Option<Bytes>,
    /// The decision and its reason.
    pub(super) decision: Option<(&'static str, &'static str)>,
    /// By ordinal.
    volumes: Vec<(Ordinal, OfVolume)>,
}

/// The values of a volume.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OfVolume {
    pub(super) usage: Option<VolumeUsage>,
    pub(super) claim_requested: Option<Bytes>,
}

impl Volumes {
    /// Changes the values of a template.
    pub(super) fn template(&self, set: &SetName, template: &TemplateName, change: impl FnOnce(&mut OfTemplate)) {
        let mut sets = self.lock();
        if !sets.contains_key(set) {
            sets.insert(set.clone(), OfSet::new());
        }
        let Some(templates) = sets.get_mut(set) else { return };
        match templates.iter_mut().find(|(name, _)| name == template) {
            Some((_, known)) => change(known),
            None => {
                let mut known = OfTemplate::default();
                change(&mut known);
                templates.push((template.clone(), known));
            }
        }
    }

    /// Changes the values of a volume.
    pub(super) fn volume(&self, volume: Volume<'_>, change: impl FnOnce(&mut OfVolume)) {
        self.template(volume.set, volume.template, |known| change(known.volume(volume.ordinal)));
    }

    /// A gauge of the usage.
    pub(super) fn usage(&self, value: fn(&OfVolume) -> Option<u64>) -> VolumeGauge {
        VolumeGauge { volumes: self.clone(), labels: &VOLUME, value }
    }

    /// The gauge of the storage requests of PVCs.
    pub(super) fn claim_requested(&self) -> VolumeGauge {
        VolumeGauge { volumes: self.clone(), labels: &CLAIM, value: |volume| Some(volume.claim_requested?.0) }
    }

    /// The gauge of the storage requests of templates.
    pub(super) fn template_requested(&self) -> TemplateGauge {
        TemplateGauge { volumes: self.clone(), labels: &TEMPLATE, value: |known| Some(known.template_requested?.0) }
    }

    /// The gauge that has the decisions in its labels.
    pub(super) fn decision(&self) -> TemplateGauge {
        TemplateGauge { volumes: self.clone(), labels: &DECISION, value: |known| known.decision.map(|_| 1) }
    }

    /// When the volume was measured that was measured the longest ago.
    pub(super) fn oldest_reading(&self) -> Option<Timestamp> {
        let sets = self.lock();
        let volumes = sets.values().flatten().flat_map(|(_, template)| &template.volumes);
        volumes.filter_map(|(_, volume)| Some(volume.usage?.at)).min()
    }

    /// Removes the values of a StatefulSet.
    pub(super) fn remove(&self, set: &SetName) {
        self.lock().remove(set);
    }

    /// Removes the values of a PVC.
    pub(super) fn remove_claim(&self, set: &SetName, claim: &ClaimName) {
        for (template, known) in self.lock().get_mut(set).into_iter().flatten() {
            let gone = claim.ordinal_of(template, set);
            known.volumes.retain(|(ordinal, _)| Some(*ordinal) != gone);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SetName, OfSet>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OfTemplate {
    fn volume(&mut self, ordinal: Ordinal) -> &mut OfVolume {
        let at = self.volumes.binary_search_by_key(&ordinal, |(known, _)| *known).unwrap_or_else(|at| {
            self.volumes.insert(at, (ordinal, OfVolume::default()));
            at
        });
        &mut self.volumes[at].1
    }
}

/// A gauge with a series for each volume that has the value.
#[derive(Debug)]
pub(super) struct VolumeGauge {
    volumes: Volumes,
    /// Its labels: [`VOLUME`], or [`CLAIM`].
    labels: &'static [&'static str],
    value: fn(&OfVolume) -> Option<u64>,
}

impl EncodeMetric for VolumeGauge {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), Error> {
        for (set, templates) in self.volumes.lock().iter() {
            for (template, known) in templates {
                for (ordinal, volume) in &known.volumes {
                    let Some(value) = (self.value)(volume) else { continue };
                    let (claim, pod) = (ClaimName::of(template, set, *ordinal), pod_name(set, *ordinal));
                    let values = [&*set.namespace, &*set.name, template.as_str(), claim.as_str(), &*pod];
                    encode(&mut encoder, self.labels, &values, value)?;
                }
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }

    fn is_empty(&self) -> bool {
        let sets = self.volumes.lock();
        let mut volumes = sets.values().flatten().flat_map(|(_, template)| &template.volumes);
        !volumes.any(|(_, volume)| (self.value)(volume).is_some())
    }
}

/// A gauge with a series for each template that has the value.
#[derive(Debug)]
pub(super) struct TemplateGauge {
    volumes: Volumes,
    /// Its labels: [`TEMPLATE`], or [`DECISION`].
    labels: &'static [&'static str],
    value: fn(&OfTemplate) -> Option<u64>,
}

impl EncodeMetric for TemplateGauge {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), Error> {
        for (set, templates) in self.volumes.lock().iter() {
            for (template, known) in templates {
                let Some(value) = (self.value)(known) else { continue };
                let (decision, reason) = known.decision.unwrap_or_default();
                let values = [&*set.namespace, &*set.name, template.as_str(), decision, reason];
                encode(&mut encoder, self.labels, &values, value)?;
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }

    fn is_empty(&self) -> bool {
        let sets = self.volumes.lock();
        !sets.values().flatten().any(|(_, template)| (self.value)(template).is_some())
    }
}

/// Writes a series; of the values, as many as there are labels.
fn encode(encoder: &mut MetricEncoder<'_>, labels: &[&str], values: &[&str], value: u64) -> Result<(), Error> {
    let labels: Vec<(&str, &str)> = labels.iter().copied().zip(values.iter().copied()).collect();
    encoder.encode_family(&labels)?.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))
}
