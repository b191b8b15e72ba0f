/** What the images are built from. Change a version here, then run `npm run images -- --update`. */

export const RELEASE = { id: 'debian', codename: 'bookworm' };

/** Packages whose version shows in the images: the same bytes come out only with just these. */
export const PINNED_TOOLS: Readonly<Record<string, string>> = {
  'gcc-12': '12.2.0-14+deb12u1',
  binutils: '2.40-2',
  'linux-libc-dev': '6.1.192-2',
  gzip: '1.12-1',
  'xz-utils': '5.4.1-1+deb12u2',
  zstd: '1.5.4+dfsg2-5',
};

/** Packages the build needs in whatever version. */
export const TOOLS = ['bc', 'bison', 'flex', 'libc6-dev', 'libelf-dev', 'make', 'patch'];

/** Packages that are unpacked, not installed. */
export const KERNEL_SOURCE = {
  name: 'linux-source-6.1',
  version: '6.1.192-2',
  architecture: 'all',
  sha256: 'ae95fe63d4c553f8d0e6c86cb1ab566f3894a43743eb19ab585cd97d82f26514',
};
export const BUSYBOX = {
  name: 'busybox-static',
  version: '1:1.35.0-4+deb12u1+b1',
  architecture: 'amd64',
  sha256: '3d3fdbe91d4660c873e14b092c213fe81c1da6362daa236eb25d0171eb108744',
};

/** Stands for "when" in everything that wants to record it. */
export const BUILD_TIME = 'Thu Jan  1 00:00:00 UTC 2026';
export const BUILD_SECONDS = 1767225600;
