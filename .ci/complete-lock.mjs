/**
 * Completes package-lock.json: `node .ci/complete-lock.mjs` after an `npm install` on a registry that lacks the native
 * packages of some platforms. npm then leaves them out of the lock file, and `npm ci` fails for everybody. What each
 * package needs on each platform is known from its exact `optionalDependencies`; what a name does not tell, is left out.
 * With `--check` it changes nothing and fails when something is missing.
 */
import { readFileSync, writeFileSync } from 'node:fs'

const path = new URL('../package-lock.json', import.meta.url)
const lock = JSON.parse(readFileSync(path, 'utf8'))
const { packages } = lock
const systems = ['darwin', 'win32', 'linux', 'android', 'freebsd', 'openharmony']
const processors = ['arm64', 'x64', 'ia32', 'arm', 'ppc64', 'riscv64', 's390x']

const missing = []
for (const [place, { dev, optionalDependencies = {} }] of Object.entries(packages)) {
  if (place === '') continue
  for (const [name, version] of Object.entries(optionalDependencies)) {
    const known = `node_modules/${name}` in packages || `${place}/node_modules/${name}` in packages
    const words = name.split(/[/-]/)
    const os = systems.find((each) => words.includes(each))
    const cpu = processors.find((each) => words.includes(each))
    if (known || os === undefined || cpu === undefined || !/^\d/.test(version)) continue
    const libc = words.some((word) => word.startsWith('musl')) ? ['musl'] : undefined
    missing.push([
      `node_modules/${name}`,
      { version, cpu: [cpu], ...(dev && { dev }), ...(libc && { libc }), optional: true, os: [os] },
    ])
  }
}

const names = missing.map(([place]) => place.slice('node_modules/'.length))
if (process.argv.includes('--check')) {
  if (names.length > 0) {
    console.error(`package-lock.json lacks ${names.join(', ')}: run node .ci/complete-lock.mjs`)
    process.exitCode = 1
  }
} else {
  lock.packages = Object.fromEntries(
    Object.entries({ ...packages, ...Object.fromEntries(missing) }).sort(([a], [b]) => (a < b ? -1 : 1)),
  )
  writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`)
  console.log(`added ${names.length} packages`)
}
