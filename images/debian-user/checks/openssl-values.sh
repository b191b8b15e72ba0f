# Digests, ciphers and public-key operations whose results are known beforehand.
seq 1 20000 >input
for digest in md5 sha1 sha224 sha256 sha384 sha512 sha512-256 sha3-256 sha3-512 shake256 blake2b512 blake2s256 ripemd160 sm3; do
  openssl dgst -$digest input
done
key=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
iv=f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff
for cipher in aes-128-cbc aes-192-cbc aes-256-cbc aes-128-ctr aes-256-ctr aes-128-ecb camellia-128-cbc aria-128-cbc chacha20 sm4-cbc; do
  size=$(echo $cipher | sed 's/chacha20/-256-/; s/sm4/-128-/; s/[^-]*-\([0-9]*\)-.*/\1/')
  openssl enc -$cipher -K "$(echo $key | cut -c 1-$((size / 4)))" -iv $iv -in input -out encrypted 2>/dev/null || openssl enc -$cipher -K "$(echo $key | cut -c 1-$((size / 4)))" -in input -out encrypted
  echo "$cipher $(sha256sum <encrypted)"
done
openssl mac -macopt cipher:AES-128-CBC -macopt hexkey:000102030405060708090a0b0c0d0e0f -in input CMAC
openssl mac -macopt digest:SHA256 -macopt hexkey:000102 -in input HMAC
openssl mac -macopt hexkey:$key -in input Poly1305
openssl kdf -keylen 32 -kdfopt digest:SHA512 -kdfopt pass:word -kdfopt salt:salt -kdfopt iter:1000 PBKDF2
openssl prime 170141183460469231731687303715884105727 170141183460469231731687303715884105729
openssl dgst -sha256 -sign /verify/rsa.pem -out signature input && sha256sum <signature
openssl dgst -sha256 -prverify /verify/rsa.pem -signature signature input
for curve in prime256v1 secp384r1 X25519 ED25519; do
  case $curve in
    X25519 | ED25519) openssl genpkey -algorithm $curve -out private ;;
    *) openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:$curve -out private ;;
  esac
  openssl pkey -in private -pubout -out public
  case $curve in
    X25519) openssl pkeyutl -derive -inkey private -peerkey public -out secret && echo "$curve derived" ;;
    ED25519) openssl pkeyutl -sign -rawin -inkey private -in input -out signature && openssl pkeyutl -verify -rawin -pubin -inkey public -in input -sigfile signature ;;
    *) openssl dgst -sha256 -sign private -out signature input && openssl dgst -sha256 -verify public -signature signature input ;;
  esac
done
rm -f input encrypted signature private public secret
