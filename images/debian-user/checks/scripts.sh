# Interpreters and the core utilities.
set -e
perl /verify/programs/numbers.pl
gawk -f /verify/programs/numbers.awk </dev/null
python3 /verify/programs/values.py
seq 1 3 20000 | sort -R --random-source=/verify/rsa.pem | sort -n | sha256sum
seq 1 50000 | gzip -9n | tee compressed | sha256sum
gzip -dc compressed | md5sum
factor 18446744073709551615 18446744073709551557 1000000007 999999999989
numfmt --to=iec 123456789012 1023 1048576
dd if=/dev/zero bs=64k count=64 2>/dev/null | busybox sha512sum
rm -f compressed
