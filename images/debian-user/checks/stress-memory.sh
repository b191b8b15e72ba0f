# Stressors of memory, sorting and searching.
for method in $(stress-ng --memcpy-method which 2>&1 | sed 's/.*one of: all //'); do
  stress-ng --quiet --verify --memcpy 1 --memcpy-ops 4 --memcpy-method "$method" && echo "memcpy $method right" || echo "memcpy $method WRONG"
done
for stressor in stream memthrash bsearch lsearch hsearch tsearch qsort heapsort mergesort radixsort shellsort hash malloc; do
  stress-ng --quiet --verify --$stressor 1 --$stressor-ops 1 && echo "$stressor right" || echo "$stressor WRONG"
done
