//! The profiles of a message: one window for each resource and time, made when it is asked for.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::dictionary::{Dictionary, scalar};
use super::window::{Head, Part, Resource, build};
use crate::profile::import::{ImportError, within};
use crate::profile::wire::Wire;

/// Profiles of one message.
const PROFILES_MAX: usize = 16_384;

/// Windows that they make.
const PARTS_MAX: usize = 4_096;

/// Attributes of one resource.
const ATTRIBUTES_MAX: usize = 512;

/// The parts of a message. Each costs memory only while it is looked at.
#[derive(Debug)]
pub struct Parts {
    dictionary: Dictionary,
    left: VecDeque<(Resource, Vec<Head>)>,
}

/// Reads `ExportProfilesServiceRequest`, which is `ProfilesData`.
///
/// # Errors
/// When it is damaged or too large. What is wrong with single profiles is said when they are asked for.
pub fn decode(message: &Bytes) -> Result<Parts, ImportError> {
    let (mut dictionary, mut resources) = (None, Vec::new());
    for field in Wire(message) {
        match field? {
            (1, value) => resources.push(value.bytes()?),
            (2, value) if dictionary.is_none() => dictionary = Some(Dictionary::read(value.bytes()?)?),
            (2, _) => return Err(ImportError::Several { what: "the dictionary".to_owned() }),
            _ => {}
        }
    }
    let dictionary = dictionary.unwrap_or_default();
    let (mut left, mut profiles) = (VecDeque::new(), 0);
    for resource in resources {
        let (mut attributes, mut by_time) = (Vec::new(), BTreeMap::<(u64, u64), Vec<Head>>::new());
        for field in Wire(resource) {
            match field? {
                (1, value) => read_attributes(value.bytes()?, &dictionary, &mut attributes)?,
                (2, scope) => {
                    for field in Wire(scope.bytes()?) {
                        let (2, profile) = field? else { continue };
                        within("profiles", profiles, PROFILES_MAX)?;
                        profiles += 1;
                        let head = Head::read(message.slice_ref(profile.bytes()?))?;
                        by_time.entry(head.time()).or_default().push(head);
                    }
                }
                _ => {}
            }
        }
        for heads in by_time.into_values() {
            within("resources and times", left.len(), PARTS_MAX)?;
            left.push_back((Resource { attributes: attributes.clone() }, heads));
        }
    }
    Ok(Parts { dictionary, left })
}

/// `Resource`: its attributes that have a single value.
fn read_attributes(
    resource: &[u8],
    dictionary: &Dictionary,
    attributes: &mut Vec<(String, String)>,
) -> Result<(), ImportError> {
    for field in Wire(resource) {
        let (1, attribute) = field? else { continue };
        let (mut key, mut value) = (String::new(), None);
        for field in Wire(attribute.bytes()?) {
            match field? {
                (1, text) => key = String::from_utf8_lossy(text.bytes()?).into_owned(),
                (2, any) => value = scalar(any.bytes()?)?,
                // In profiles names and texts may stand in the dictionary, too.
                (3, index) => key = dictionary.get(index.signed()?)?.to_owned(),
                _ => {}
            }
        }
        within("attributes of a resource", attributes.len(), ATTRIBUTES_MAX)?;
        if let Some(value) = value {
            attributes.push((key, value.text(dictionary)?));
        }
    }
    Ok(())
}

impl Iterator for Parts {
    type Item = Result<Part, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (resource, heads) = self.left.pop_front()?;
        Some(build(&self.dictionary, resource, &heads))
    }
}
