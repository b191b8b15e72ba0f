# status only: the tests print their times.
python3 -m test -v --list-tests test_math >/dev/null &&
python3 -m test test_math test_cmath test_float test_long test_int test_complex test_fractions test_struct test_random \
  test_numeric_tower test_strtod test_decimal test_statistics test_hash test_hashlib test_zlib test_binascii test_array
