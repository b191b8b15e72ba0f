# status only: the tests print their times.
python3 -m test test_decimal
