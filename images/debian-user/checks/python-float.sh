# status only: the tests print their times.
python3 -m test test_math test_cmath test_float test_complex test_strtod test_numeric_tower
