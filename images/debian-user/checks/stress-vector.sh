# Stressors of vector instructions, until their code is hot.
for stressor in vecmath vecwide; do
  stress-ng --quiet --verify --$stressor 1 --$stressor-ops 50 && echo "$stressor right" || echo "$stressor WRONG"
done
for stressor in vecfp vecshuf; do
  for method in $(stress-ng --$stressor-method which 2>&1 | sed 's/.*one of: all //'); do
    stress-ng --quiet --verify --$stressor 1 --$stressor-ops 50 --$stressor-method "$method" && echo "$stressor $method right" || echo "$stressor $method WRONG"
  done
done
