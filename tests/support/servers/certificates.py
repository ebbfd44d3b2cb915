"""A certificate authority for one test, with certificates for a server and a client."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme

__all__ = ["Certificates"]


@dataclass(frozen=True)
class Certificates:
    """PEM files: the authority, and certificate and key of the server and of a client."""

    ca: Path
    server_cert: Path
    server_key: Path
    client_cert: Path
    client_key: Path

    @classmethod
    def make(cls, folder: Path) -> Certificates:
        """Write new files into a folder; the server's certificate is valid for the local host."""
        folder.mkdir(parents=True, exist_ok=True)
        names = ("ca", "server_cert", "server_key", "client_cert", "client_key")
        files = cls(*(folder / f"{name}.pem" for name in names))
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(files.ca))
        server = authority.issue_cert("127.0.0.1", "localhost")
        server.private_key_pem.write_to_path(str(files.server_key))
        for blob in server.cert_chain_pems:
            blob.write_to_path(str(files.server_cert), append=True)
        client = authority.issue_cert("client.test")
        client.private_key_pem.write_to_path(str(files.client_key))
        for blob in client.cert_chain_pems:
            blob.write_to_path(str(files.client_cert), append=True)
        return files
