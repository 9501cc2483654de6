/**
 * How the child of a kernel process is launched: what it may touch and what its environment says, by back end. Node's
 * permission model gives it this folder, the packages it computes with, the blobs and its scratch folder: not the whole
 * repository, since a `.tensorfleet/` with tokens may lie in it. Machine code is allowed to native back ends alone, and
 * loaded before the doors close (`child.ts`).
 *
 * The environment is empty but for what a GPU's driver needs to be found.
 */
import { existsSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { BACKENDS } from './backend.ts'
import type { BackendChoice, BackendName } from './backend.ts'
import { INSTALLABLE, INSTALLED_FILE } from './backends/installed.ts'
import { DRIVER_FOLDER } from './backends/nvidia.ts'

export interface LaunchOptions {
  cacheDir: string
  scratchDir: string
  backendsDir: string | undefined
}

export interface Launch {
  settings: ChildSettings
  execArgv: string[]
  env: Record<string, string>
}

/** What the child is told, as its one argument. */
export interface ChildSettings {
  backend: BackendName
  /** It loads machine code, so its doors close only after that. */
  native: boolean
  scratchDir: string
  backendsDir?: string
}

export function launchOf(backend: BackendName, { cacheDir, scratchDir, backendsDir }: LaunchOptions): Launch {
  const native = NATIVE.has(backend)
  const here = dirname(fileURLToPath(import.meta.url))
  const packages = dirname(
    dirname(dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-core/package.json'))),
  )
  const readable = [
    join(here, '*'),
    join(dirname(here), 'package.json'),
    join(packages, '*'),
    join(cacheDir, '*'),
    join(scratchDir, '*'),
    ...(native && backendsDir !== undefined ? [join(backendsDir, '*')] : []),
    ...(backend === 'tensorflow-gpu' ? [join(DRIVER_FOLDER, '*')] : []),
  ]
  return {
    settings: { backend, native, scratchDir, ...(backendsDir !== undefined && { backendsDir }) },
    execArgv: [
      '--permission',
      ...readable.map((path) => `--allow-fs-read=${path}`),
      `--allow-fs-write=${join(scratchDir, '*')}`,
      '--disable-warning=ExperimentalWarning',
      '--disable-warning=SecurityWarning',
      native ? '--allow-addons' : '--no-addons',
    ],
    env: environmentOf(backend, scratchDir),
  }
}

/** The back ends to try, by preference, without those that the host plainly does not have. */
export function candidates(choice: BackendChoice, backendsDir: string | undefined): readonly BackendName[] {
  if (choice !== 'auto') return [choice]
  return BACKENDS.filter((name) => {
    if (name === 'webgpu-software') return false
    if (name === 'webgpu') return mayHaveGpu()
    const installable = INSTALLABLE.find((each) => each === name)
    return (
      installable === undefined || (backendsDir !== undefined && existsSync(join(backendsDir, name, INSTALLED_FILE)))
    )
  })
}

const NATIVE: ReadonlySet<BackendName> = new Set(['tensorflow-gpu', 'tensorflow', 'webgpu', 'webgpu-software'])

/** How drivers of GPUs are found, where they are not in the system's own places. */
const DRIVER_VARIABLES = [
  'LD_LIBRARY_PATH',
  'VK_DRIVER_FILES',
  'VK_ICD_FILENAMES',
  'CUDA_VISIBLE_DEVICES',
  'XDG_DATA_DIRS',
]

/**
 * glibc then asks for pages of 2 MB. A step of a CNN goes through tens of megabytes, more pages of 4 kB than a processor
 * knows the places of; on a virtual machine looking them up took 4 to 9 % of TensorFlow's time.
 */
export const LARGE_PAGES = { GLIBC_TUNABLES: 'glibc.malloc.hugetlb=1' }

function environmentOf(backend: BackendName, scratchDir: string): Record<string, string> {
  if (!NATIVE.has(backend)) return {}
  const given = DRIVER_VARIABLES.flatMap((name) => {
    const value = process.env[name]
    return value === undefined ? [] : [[name, value] as const]
  })
  // Some drivers want a place for sockets and locks.
  const env: Record<string, string> = { ...Object.fromEntries(given), ...LARGE_PAGES, XDG_RUNTIME_DIR: scratchDir }
  if (backend !== 'webgpu-software' || env['VK_DRIVER_FILES'] !== undefined) return env
  const folder = SWIFTSHADER_FOLDERS.find((each) => existsSync(join(each, SWIFTSHADER)))
  if (folder === undefined) return env
  // The browser carries Vulkan's loader too, which a machine without a GPU often lacks.
  const libraries = [folder, env['LD_LIBRARY_PATH']].filter(Boolean).join(':')
  return { ...env, VK_DRIVER_FILES: join(folder, SWIFTSHADER), LD_LIBRARY_PATH: libraries }
}

/** A software GPU that browsers bring. */
export const SWIFTSHADER = 'vk_swiftshader_icd.json'
export const SWIFTSHADER_FOLDERS = ['/usr/lib/chromium', '/usr/lib/chromium-browser', '/opt/google/chrome']

/** On Linux a GPU has a device file. Elsewhere the system always has one, or the back end says that it has not. */
function mayHaveGpu(): boolean {
  if (process.platform !== 'linux') return true
  const devices = ['/dev/dri', '/dev'].flatMap((folder) => {
    try {
      return readdirSync(folder)
    } catch {
      return [] // no such folder: no such devices
    }
  })
  return devices.some((name) => /^(renderD\d+|nvidia\d+|dxg)$/.test(name))
}
