# The numeric modules' own tests: how many ran and how many were skipped. What fails is told on standard error.
modules='test_math test_cmath test_float test_complex test_strtod test_numeric_tower test_int test_int_literal test_long test_pow
  test_unary test_format test_fractions test_struct test_abstract_numbers test_operator test_array test_audioop test_colorsys
  test_random test_hash test_hashlib test_hmac test_zlib test_binascii test_decimal test_statistics test_buffer'
for module in $modules; do
  if python3 -m test -v $module >log 2>&1; then
    echo "$module $(grep -E '^Ran ' log | cut -d ' ' -f 2) run, $(grep -Ec '\.\.\. skipped' log) skipped, right"
  else
    tail -c 1000 log >&2
    echo "$module WRONG"
  fi
done
rm -f log
