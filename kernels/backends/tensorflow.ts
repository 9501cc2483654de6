/**
 * TensorFlow itself, by the add-on of `@tensorflow/tfjs-node` (`-gpu` where CUDA is): fifty times `cpu`, nearly twice
 * `wasm` on a CNN. It is no dependency: `tensorfleet backends install tensorflow` puts it below the backends folder
 * (`install.ts`), and this driver takes from there the add-on and the package's kernels, nothing else of it.
 *
 * One thread a process: that scales better than threads do, and a CNN's gradients are the same on every run.
 * oneDNN chooses its loops by the processor, so the processor is part of the fingerprint; a GPU's libraries choose theirs by
 * the GPU, whose model is part of it too.
 *
 * Two things of the package are mended without touching its files. It calls `util.isNullOrUndefined`, which Node 23
 * removed; and it asks for the package `@tensorflow/tfjs`, for which it gets our own tfjs-core: one engine, one registry.
 */
import { createRequire, registerHooks } from 'node:module'
import { cpus } from 'node:os'
import util from 'node:util'
import type { BackendDriver, BackendTraits } from '../backend.ts'
import { KernelError } from '../errors.ts'
import { driverModels } from './nvidia.ts'
import type { Tf } from '../tfjs.ts'
import { installedBackend } from './installed.ts'
import type { InstallableName } from './installed.ts'
import { DETERMINISTIC } from './tensorflow/deterministic.ts'
import { replaceKernels } from './tensorflow/kernels.ts'
import type { Binding, NodeBackend } from './tensorflow/kernels.ts'

interface Loaded {
  binding: Binding
  packageName: string
  NodeJSKernelBackend: new (binding: Binding, packageName: string) => NodeBackend
}

export const tensorflowBackend = driver('tensorflow')
export const tensorflowGpuBackend = driver('tensorflow-gpu')

function driver(name: InstallableName): BackendDriver {
  let loaded: Loaded | undefined
  return {
    name,
    tfName: 'tensorflow',
    async load({ backendsDir }) {
      loaded = await loadPackage(name, backendsDir)
    },
    async start(tf) {
      if (!loaded) throw new KernelError('backend.unavailable', `${name} was started before it was loaded`)
      return await startTensorflow(tf, name, loaded)
    },
  }
}

async function loadPackage(name: InstallableName, backendsDir: string | undefined): Promise<Loaded> {
  const found = await installedBackend(name, backendsDir)
  // TensorFlow reads them when it makes its context, from the process's own environment.
  Object.assign(process.env, {
    TF_NUM_INTRAOP_THREADS: '1',
    TF_NUM_INTEROP_THREADS: '1',
    TF_ENABLE_ONEDNN_OPTS: ONE_DNN,
    TF_CPP_MIN_LOG_LEVEL: '2',
    TF_FORCE_GPU_ALLOW_GROWTH: 'true',
    ...(name === 'tensorflow-gpu' && DETERMINISTIC),
  })
  ;(util as { isNullOrUndefined?: (value: unknown) => boolean }).isNullOrUndefined ??= (value) => value == null // see the head
  const ours = createRequire(import.meta.url).resolve('@tensorflow/tfjs-core')
  const hooks = registerHooks({
    resolve: (specifier, context, next) =>
      next(specifier === '@tensorflow/tfjs' || specifier === '@tensorflow/tfjs-core' ? ours : specifier, context),
  })
  try {
    const load = createRequire(found.packageJson)
    const binding = load(found.addon) as Binding // its one user besides us is the package
    load('./dist/register_all_kernels.js')
    const { NodeJSKernelBackend } = load('./dist/nodejs_kernel_backend.js') as Pick<Loaded, 'NodeJSKernelBackend'>
    return { binding, packageName: found.packageName, NodeJSKernelBackend }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new KernelError('backend.unavailable', `${name} is installed and does not load: ${reason}`, {}, error)
  } finally {
    hooks.deregister()
  }
}

const ONE_DNN = '1'

async function startTensorflow(tf: Tf, name: InstallableName, loaded: Loaded): Promise<BackendTraits> {
  const { binding, packageName, NodeJSKernelBackend } = loaded
  const backend = new NodeJSKernelBackend(binding, packageName)
  if (name === 'tensorflow-gpu' && !backend.isUsingGpuDevice) {
    const [model] = driverModels()
    const why = model
      ? `the driver has ${model}, so CUDA or cuDNN is missing or too old`
      : 'it needs a driver, CUDA and cuDNN'
    throw new KernelError('backend.unavailable', `TensorFlow sees no CUDA device: ${why}`)
  }
  tf.registerBackend('tensorflow', () => backend)
  await tf.setBackend('tensorflow')
  const { oneDnn } = replaceKernels(tf, backend)
  const dnn = `oneDNN ${ONE_DNN}${oneDnn ? ', by name too' : ''}`
  const gpu = name === 'tensorflow-gpu' ? driverModels().join(', ') || 'CUDA device' : undefined
  const processors = [cpus()[0]?.model ?? process.arch, ...(gpu === undefined ? [] : [gpu])].join(', ')
  const engine = `TensorFlow ${binding.TF_Version}, ${dnn}, ${processors}`
  const device = gpu === undefined ? {} : { device: { name: gpu, isHardware: true } }
  return { kernelVersion: 4, simd: true, threads: 1, engine, ...device }
}
