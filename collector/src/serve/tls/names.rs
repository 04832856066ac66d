//! What is read from certificates: the names of a client, and until when ours is valid.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use tephra_proto::label;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use crate::base::certificate::PeerCertificate;

/// Names of one certificate; further ones are left out.
const NAMES_MAX: usize = 32;

/// Bytes of a name with its kind; a longer one is left out, for a part of a name is another name.
const NAME_BYTES_MAX: usize = 512;

/// The names in a certificate that was verified. None of them are in one that is not understood.
pub(super) fn peer(certificate: &CertificateDer<'_>) -> PeerCertificate {
    let mut names = Vec::new();
    if let Ok((_, parsed)) = parse_x509_certificate(certificate) {
        let alternative = parsed.subject_alternative_name().ok().flatten();
        for name in alternative.iter().flat_map(|extension| &extension.value.general_names) {
            match name {
                GeneralName::DNSName(name) => names.push(format!("dns:{name}")),
                GeneralName::URI(name) => names.push(format!("uri:{name}")),
                _ => {}
            }
        }
        let common = parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        names.extend(common.map(|name| format!("cn:{name}")));
    }
    names.retain(|name| name.len() <= NAME_BYTES_MAX && name.chars().all(label::is_printable));
    names.truncate(NAMES_MAX);
    PeerCertificate { names: Arc::from(names) }
}

/// The last second in which a certificate is valid, unix seconds. `None` for one that is not understood.
pub(super) fn valid_until_s(certificate: &CertificateDer<'_>) -> Option<u64> {
    let (_, parsed) = parse_x509_certificate(certificate).ok()?;
    u64::try_from(parsed.validity().not_after.timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(make: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        make(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().into()
    }

    #[test]
    fn names_carry_their_kind_so_that_none_passes_for_another() {
        let made = certificate(|params| {
            params.distinguished_name.push(DnType::CommonName, "dns:admin");
            params.subject_alt_names = vec![
                SanType::DnsName("agent.example".try_into().unwrap()),
                SanType::URI("spiffe://example/agent".try_into().unwrap()),
                SanType::IpAddress([127, 0, 0, 1].into()),
            ];
        });
        let names = peer(&made).names;
        assert_eq!(*names, ["dns:agent.example", "uri:spiffe://example/agent", "cn:dns:admin"].map(str::to_owned));
    }

    #[test]
    fn strange_and_many_names_are_left_out_and_garbage_has_none() {
        let made = certificate(|params| {
            params.distinguished_name.push(DnType::CommonName, "two\nlines");
            params.subject_alt_names.push(SanType::URI("x".repeat(600).try_into().unwrap()));
            let many = (0..100).map(|n| SanType::DnsName(format!("n{n}.example").try_into().unwrap()));
            params.subject_alt_names.extend(many);
        });
        let names = peer(&made).names;
        assert_eq!((names.len(), names[0].as_str()), (NAMES_MAX, "dns:n0.example"));
        assert!(names.iter().all(|name| name.starts_with("dns:n")), "{names:?}");
        for garbage in [&[][..], &[0x30], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0; 100]] {
            assert_eq!(peer(&CertificateDer::from(garbage)).names.len(), 0);
            assert_eq!(valid_until_s(&CertificateDer::from(garbage)), None);
        }
        let cut = &made[..made.len() / 2];
        assert_eq!(peer(&CertificateDer::from(cut)).names.len(), 0);
    }

    #[test]
    fn the_end_of_a_certificate_is_in_unix_seconds() {
        let made = certificate(|params| params.not_after = rcgen::date_time_ymd(2033, 5, 18));
        assert_eq!(valid_until_s(&made), Some(1_999_987_200));
    }
}
