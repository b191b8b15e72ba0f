# status only: the tests print their times.
python3 -m test test_int test_long test_fractions test_struct test_abstract_numbers test_operator test_array
