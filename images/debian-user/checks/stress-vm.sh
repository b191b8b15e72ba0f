# Every way of the vm stressor to fill and check memory: 16 operations, or two seconds: prime-incdec does not count its own.
methods=$(stress-ng --vm-method which 2>&1 | sed 's/.*one of: all //')
for method in $methods; do
  stress-ng --quiet --verify --vm 1 --vm-bytes 64k --vm-keep --vm-ops 16 --timeout 2 --vm-method "$method" && echo "$method right" || echo "$method WRONG"
done
