/**
 * CPU models by name, and what each feature means in CPUID (SDM vol. 2, CPUID; leaf, register, bit).
 * A feature is offered only when it is implemented: the decoder refuses the instructions of absent ones.
 */
type Register = 'eax' | 'ebx' | 'ecx' | 'edx';
interface FeatureBit {
  readonly leaf: number;
  readonly subleaf?: number;
  readonly register: Register;
  readonly bit: number;
}
const bit = (leaf: number, register: Register, n: number, subleaf = 0): FeatureBit => ({
  leaf,
  subleaf,
  register,
  bit: n,
});

export const FEATURE_BITS: Readonly<Record<string, FeatureBit>> = {
  fpu: bit(1, 'edx', 0),
  de: bit(1, 'edx', 2),
  pse: bit(1, 'edx', 3),
  tsc: bit(1, 'edx', 4),
  msr: bit(1, 'edx', 5),
  pae: bit(1, 'edx', 6),
  mce: bit(1, 'edx', 7),
  cx8: bit(1, 'edx', 8),
  apic: bit(1, 'edx', 9),
  sep: bit(1, 'edx', 11),
  mtrr: bit(1, 'edx', 12),
  pge: bit(1, 'edx', 13),
  mca: bit(1, 'edx', 14),
  cmov: bit(1, 'edx', 15),
  pat: bit(1, 'edx', 16),
  pse36: bit(1, 'edx', 17),
  clflush: bit(1, 'edx', 19),
  mmx: bit(1, 'edx', 23),
  fxsr: bit(1, 'edx', 24),
  sse: bit(1, 'edx', 25),
  sse2: bit(1, 'edx', 26),
  sse3: bit(1, 'ecx', 0),
  pclmulqdq: bit(1, 'ecx', 1),
  monitor: bit(1, 'ecx', 3),
  ssse3: bit(1, 'ecx', 9),
  fma: bit(1, 'ecx', 12),
  cx16: bit(1, 'ecx', 13),
  pcid: bit(1, 'ecx', 17),
  sse4_1: bit(1, 'ecx', 19),
  sse4_2: bit(1, 'ecx', 20),
  x2apic: bit(1, 'ecx', 21),
  movbe: bit(1, 'ecx', 22),
  popcnt: bit(1, 'ecx', 23),
  tsc_deadline: bit(1, 'ecx', 24),
  aes: bit(1, 'ecx', 25),
  xsave: bit(1, 'ecx', 26),
  avx: bit(1, 'ecx', 28),
  f16c: bit(1, 'ecx', 29),
  rdrand: bit(1, 'ecx', 30),
  hypervisor: bit(1, 'ecx', 31),
  fsgsbase: bit(7, 'ebx', 0),
  bmi1: bit(7, 'ebx', 3),
  avx2: bit(7, 'ebx', 5),
  smep: bit(7, 'ebx', 7),
  bmi2: bit(7, 'ebx', 8),
  erms: bit(7, 'ebx', 9),
  invpcid: bit(7, 'ebx', 10),
  rdseed: bit(7, 'ebx', 18),
  adx: bit(7, 'ebx', 19),
  smap: bit(7, 'ebx', 20),
  clflushopt: bit(7, 'ebx', 23),
  clwb: bit(7, 'ebx', 24),
  sha_ni: bit(7, 'ebx', 29),
  umip: bit(7, 'ecx', 2),
  pku: bit(7, 'ecx', 3),
  la57: bit(7, 'ecx', 16),
  rdpid: bit(7, 'ecx', 22),
  fsrm: bit(7, 'edx', 4),
  arch_capabilities: bit(7, 'edx', 29),
  xsaveopt: bit(0xd, 'eax', 0, 1),
  xsavec: bit(0xd, 'eax', 1, 1),
  xgetbv1: bit(0xd, 'eax', 2, 1),
  xsaves: bit(0xd, 'eax', 3, 1),
  lahf_lm: bit(0x8000_0001, 'ecx', 0),
  lzcnt: bit(0x8000_0001, 'ecx', 5),
  '3dnowprefetch': bit(0x8000_0001, 'ecx', 8),
  syscall: bit(0x8000_0001, 'edx', 11),
  nx: bit(0x8000_0001, 'edx', 20),
  pdpe1gb: bit(0x8000_0001, 'edx', 26),
  rdtscp: bit(0x8000_0001, 'edx', 27),
  lm: bit(0x8000_0001, 'edx', 29),
  nonstop_tsc: bit(0x8000_0007, 'edx', 8),
  kvmclock: bit(0x4000_0001, 'eax', 3),
};

const BASE = [
  'fpu',
  'de',
  'pse',
  'tsc',
  'msr',
  'pae',
  'mce',
  'cx8',
  'apic',
  'sep',
  'mtrr',
  'pge',
  'mca',
  'cmov',
  'pat',
  'pse36',
  'clflush',
  'mmx',
  'fxsr',
  'sse',
  'sse2',
  'syscall',
  'nx',
  'lm',
  'rdtscp',
  'hypervisor',
  'tsc_deadline',
  'nonstop_tsc',
];
const V2 = ['cx16', 'lahf_lm', 'popcnt', 'sse3', 'ssse3', 'sse4_1', 'sse4_2'];
const V3 = ['avx', 'avx2', 'bmi1', 'bmi2', 'f16c', 'fma', 'lzcnt', 'movbe', 'xsave'];
/** What an operating system may use without user code noticing. */
const SUPERVISOR = [
  'smep',
  'smap',
  'pdpe1gb',
  'fsgsbase',
  'rdrand',
  'rdseed',
  'erms',
  'fsrm',
  'umip',
  'clflushopt',
  '3dnowprefetch',
  'arch_capabilities',
];
const MAX = [
  'pclmulqdq',
  'aes',
  'adx',
  'sha_ni',
  'rdpid',
  'clwb',
  'xsaveopt',
  'xsavec',
  'xgetbv1',
  'xsaves',
  'pcid',
  'invpcid',
  'x2apic',
  'monitor',
  'la57',
  'pku',
];

const MODELS: Readonly<Record<string, readonly string[]>> = {
  'x86-64-v1': [...BASE, 'cx16'],
  qemu64: [...BASE, 'cx16', 'sse3', 'lahf_lm'],
  'x86-64-v2': [...BASE, ...V2, ...SUPERVISOR],
  'x86-64-v3': [...BASE, ...V2, ...V3, ...SUPERVISOR],
  max: [...BASE, ...V2, ...V3, ...SUPERVISOR, ...MAX],
};
export const MODEL_NAMES: readonly string[] = Object.keys(MODELS);
export const DEFAULT_MODEL = 'x86-64-v2';

/** `NAME[,+f][,-f]...` -> the features offered. Throws RangeError with one clear line. */
export function parseCpu(text: string): ReadonlySet<string> {
  const [name = '', ...changes] = text.split(',');
  const model = MODELS[name];
  if (!model) throw new RangeError(`--cpu ${text}: no CPU model "${name}"; choose one of ${MODEL_NAMES.join(', ')}`);
  const features = new Set(model);
  for (const change of changes) {
    const feature = change.slice(1);
    if (!/^[+-]/.test(change) || !(feature in FEATURE_BITS)) {
      throw new RangeError(
        `--cpu ${text}: "${change}" is not +FEATURE or -FEATURE; features: ${Object.keys(FEATURE_BITS).join(' ')}`,
      );
    }
    if (change.startsWith('-')) features.delete(feature);
    else features.add(feature);
  }
  return features;
}
