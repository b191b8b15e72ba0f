# status only: the figures are the machine's. The public-key tests verify what they sign.
set -e
for cipher in aes-128-gcm aes-256-cbc chacha20-poly1305; do
  openssl speed -seconds 1 -bytes 8192 -evp $cipher
done
openssl speed -seconds 1 -bytes 8192 sha1 sha256 sha512
openssl speed -seconds 1 rsa2048 ecdsap256 ecdhx25519 ed25519
