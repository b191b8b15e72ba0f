# status only: the tests print their times.
python3 -m test test_math test_cmath test_float test_int test_complex test_fractions test_struct test_strtod \
  test_numeric_tower test_long test_abstract_numbers test_operator test_array
