/** 64-bit user code whose translation is kept; what it is shows in the golden files themselves, disassembled. */

/** Single instructions, hexadecimal. */
export const INSTRUCTIONS: readonly string[] = [
  '4889d8',
  '89d8',
  '88d8',
  '48b88877665544332211',
  '488d448b10',
  '488b4308',
  '8b03',
  '48894308',
  'c60305',
  '0fb603',
  '4863c1',
  '4801d8',
  '83c001',
  '0103',
  '4811d8',
  '4883ec28',
  '4839d8',
  '803b00',
  '85c0',
  '31c0',
  '4883e0c0',
  'ff03',
  '48ffc9',
  '48f7d8',
  '48c1e003',
  'd3e8',
  '48c1f83f',
  'c1c007',
  '480fafc3',
  '48f7e3',
  '48f7f1',
  '50',
  '5b',
  '480fbae005',
  '480fbcc3',
  'f3480fb8c3',
  '480f45c3',
  '0f94c0',
  '488703',
  'f0480fb10b',
  '0fc8',
  '4899',
  '0f28c1',
  '0f1003',
  '660f7f03',
  '660fefc0',
  '660ffec1',
  '660f3800c1',
  'f20f58c1',
  '0f59c1',
  '660f2ec1',
  'f20f2cc0',
  'f2480f2ac0',
  'dd03',
  'dec1',
  'c5f558c2',
  'c5f5ef03',
  '9c',
];

/** Programs that run to their end and are then translated as one region. */
export interface RegionCase {
  readonly name: string;
  readonly purpose: string;
  readonly code: string;
}
export const REGIONS: readonly RegionCase[] = [
  {
    name: 'sum',
    purpose: 'A loop over memory: one address, one flag consumer.',
    code: 'bf00005000b90a00000031c04803074883c70848ffc975f4',
  },
  {
    name: 'maximum',
    purpose: 'Compare and branch, signed, inside a loop.',
    code: 'bf00005000b908000000488b07488b14cf4839d07d034889d083e90175ef',
  },
  {
    name: 'byte-copy',
    purpose: 'Bytes until a zero.',
    code: 'be00005000bf00015000c706616263000fb606880748ffc648ffc784c075f1',
  },
  {
    name: 'call',
    purpose: 'Calls and returns within the region.',
    code: 'bb0500000089dfe8090000004901c4ffcb75f2eb0a554889e5488d047f5dc3',
  },
  {
    name: 'recursion',
    purpose: 'A function that calls itself, with saved registers.',
    code: 'bf06000000e802000000eb2083ff027c185357ffcfe8f2ffffff89c35f83ef02e8e7ffffff01d85bc389f8c3',
  },
  {
    name: 'dispatch',
    purpose: 'An indirect jump through a table.',
    code: 'b90900000089c883e003488d1509000000486304824801d0ffe010000000160000001b000000100000004983c001eb084931c8eb0349d1e0ffc975c9',
  },
  {
    name: 'repeat',
    purpose: 'Repeated moves and stores, in a loop.',
    code: 'bb05000000b940000000be00005000bf00015000f3a4b90800000031c0f348abffcb75e6',
  },
  { name: 'nested', purpose: 'A loop in a loop.', code: '31c0ba05000000b9050000006bc01f01c883e90175f683ea0175ec' },
  {
    name: 'entered-in-the-middle',
    purpose: 'A loop with two ways in: no nesting of loops expresses it.',
    code: 'b909000000f7c10100000075034801c84831c8ffc9740af7c10200000074eeebef',
  },
  {
    name: 'rotates',
    purpose: 'Shifts, rotates and logic of a hash round; flags are dead.',
    code: 'b90600000089c2c1ca0689c6c1ce0b31f289c6c1ee0331f201d0c1c005ffc975e4',
  },
  {
    name: 'dot-product',
    purpose: 'Scalar doubles.',
    code: 'bf00005000b9080000000f57c0f20f100ff20f594f40f20f58c14883c70883e90175ea',
  },
  {
    name: 'vectors',
    purpose: 'Packed integers of 16 and 32 bytes.',
    code: 'bf00005000b904000000f30f6f07660ffec1660fefc8f30f7f07c5edd457404883c710ffc975e3',
  },
  {
    name: 'pages',
    purpose: 'A loop across the end of a page.',
    code: `b909000000e9f30f0000${'90'.repeat(4083)}4801c8480539300000ffc975f3`,
  },
];
