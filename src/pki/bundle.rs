//! Files of certificates, as trust stores and operators keep them.

use der::{Reader as _, SliceReader};

use super::certificate::malformed;
use super::{Certificate, InvalidCertificate, pem};

impl Certificate {
    /// Every certificate of a file: PEM blocks (text between them allowed, another kind of block an error) or
    /// concatenated DER. At least one.
    pub fn read_all(bytes: &[u8]) -> Result<Vec<Self>, InvalidCertificate> {
        let certificates = if is_der(bytes) { read_der(bytes) } else { read_pem(bytes) }?;
        if certificates.is_empty() { Err(InvalidCertificate::Missing) } else { Ok(certificates) }
    }
}

/// Whether a file is DER: a sequence whose length takes more than one byte, which no certificate can do without and no
/// text can begin with, since the second byte would not be UTF-8.
fn is_der(bytes: &[u8]) -> bool {
    matches!(bytes, [0x30, 0x81..=0x84, ..])
}

fn read_der(bytes: &[u8]) -> Result<Vec<Certificate>, InvalidCertificate> {
    let mut reader = SliceReader::new(bytes).map_err(malformed)?;
    let mut certificates = Vec::new();
    while !reader.is_finished() {
        certificates.push(Certificate::from_der(reader.tlv_bytes().map_err(malformed)?)?);
    }
    Ok(certificates)
}

fn read_pem(bytes: &[u8]) -> Result<Vec<Certificate>, InvalidCertificate> {
    let blocks = pem::blocks(bytes).map_err(InvalidCertificate::Pem)?;
    blocks
        .into_iter()
        .map(|block| match block.label.as_str() {
            "CERTIFICATE" => Certificate::from_der(&block.contents),
            _ => Err(InvalidCertificate::WrongBlock { label: block.label }),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Draft, read};
    use super::*;
    use crate::remedy::Remedy as _;

    fn code(bytes: &[u8]) -> &'static str {
        Certificate::read_all(bytes).map_or_else(|error| error.code().as_str(), |_| "good")
    }

    #[test]
    fn a_file_may_be_pem_with_text_between_or_concatenated_der() {
        let chain = read("vectors/chains/p256/chain.pem");
        let der: Vec<u8> = chain.iter().flat_map(|certificate| certificate.der().to_vec()).collect();
        assert_eq!(Certificate::read_all(&der).unwrap(), chain);
        let pem = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/chains/p256/chain.pem")).unwrap();
        let commented = [b"0 subject=\xff\n", &pem[..], b"\nend\n", &pem[..]].concat();
        assert_eq!(Certificate::read_all(&commented).unwrap().len(), 6);
    }

    #[test]
    fn a_file_without_a_certificate_or_with_something_else_is_refused() {
        assert_eq!(code(b""), "certificate-missing");
        assert_eq!(code(b"README"), "certificate-missing");
        assert_eq!(code(b"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----"), "not-a-certificate");
        assert_eq!(code(b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----"), "certificate-malformed");
        assert_eq!(code(b"-----BEGIN CERTIFICATE-----\nMAA="), "pem-unclosed");
        let der = Draft::leaf().der();
        assert_eq!(code(&der), "good");
        assert_eq!(code(&[&der[..], b"\n"].concat()), "certificate-malformed");
    }
}
