# Every way of the vm stressor to fill and check memory; two seconds at most (prime-incdec takes a minute on any machine).
methods=$(stress-ng --vm-method which 2>&1 | sed 's/.*one of: all //')
for method in $methods; do
  stress-ng --quiet --verify --vm 1 --vm-bytes 4k --vm-keep --vm-ops 1 --timeout 2 --vm-method "$method" && echo "$method right" || echo "$method WRONG"
done
