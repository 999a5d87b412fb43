"""A certificate authority and a certificate for trying out, made on the spot."""

import datetime
import ipaddress
import socket
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deploy.cluster.secure_files import write_private

DAYS = 30
_RENEW_BEFORE = datetime.timedelta(days=7)


def ensure_certificate(folder: Path, address: str) -> tuple[Path, Path]:
    """Makes a certificate unless there is one that is valid for another week.

    The authority's key is thrown away: nobody can sign a further certificate with it.

    Args:
        folder: A private folder.
        address: The IPv4 address that clients use, besides `localhost` and 127.0.0.1.

    Returns:
        The file that clients trust, and the file with certificate and key for the server.
    """
    authority_file, server_file = folder / "ca.pem", folder / "server.pem"
    if authority_file.is_file() and server_file.is_file():
        made = x509.load_pem_x509_certificate(server_file.read_bytes())
        now = datetime.datetime.now(datetime.timezone.utc)
        names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        known = {str(ip) for ip in names.get_values_for_type(x509.IPAddress)}
        if made.not_valid_after_utc - now > _RENEW_BEFORE and address in known | {"0.0.0.0"}:  # noqa: S104
            return authority_file, server_file
    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _name("model serving, for trying out")
    root = (
        _builder(authority, authority, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    addresses = sorted({"127.0.0.1", address} - {"0.0.0.0"})  # noqa: S104
    names = x509.SubjectAlternativeName(
        [
            *(x509.DNSName(name) for name in sorted({"localhost", socket.gethostname()})),
            *(x509.IPAddress(ipaddress.ip_address(each)) for each in addresses),
        ]
    )
    certificate = (
        _builder(_name("localhost"), authority, server_key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(names, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key = server_key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_private(server_file, certificate.public_bytes(pem) + key)
    write_private(authority_file, root.public_bytes(pem))
    return authority_file, server_file


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # Clocks differ a little.
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
