# Every method of the matrix stressors, until its code is hot.
for kind in matrix matrix-3d; do
  methods=$(stress-ng --$kind-method which 2>&1 | sed 's/.*one of: all //')
  for method in $methods; do
    stress-ng --quiet --verify --$kind 1 --$kind-size 32 --$kind-ops 200 --$kind-method "$method" && echo "$kind $method right" || echo "$kind $method WRONG"
  done
done
