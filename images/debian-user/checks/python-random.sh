# status only: the tests print their times.
python3 -m test test_statistics test_random test_hash test_hashlib test_zlib test_binascii
