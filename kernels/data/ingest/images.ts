/**
 * A zip of pictures: the folder that a picture lies in is its class, a folder above it named train, validation or test
 * is its split. PNG and JPEG, decoded by libraries without native parts; a picture's size is read from its header and
 * checked before it is decoded, since a small file can stand for gigabytes.
 */
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { decode as decodePng } from 'fast-png'
import decodeJpeg, { init as initJpeg } from '@jsquash/jpeg/decode.js'
import { KernelError } from '../../errors.ts'
import { PICTURE_BYTES_MAX, PICTURE_PIXELS_MAX } from '../../limits.ts'
import type { Column } from '../column.ts'
import type { SplitName } from '../manifest.ts'
import { resize } from '../pictures.ts'
import type { IngestFile, IngestOptions } from './request.ts'
import type { RowSink } from './sink.ts'
import { splitOfName } from './split.ts'
import { openZip } from './zip.ts'
import type { OpenZip, ZipEntry } from './zip.ts'

const BATCH_BYTES = 4 * 1024 * 1024

/** Values 0–255, [height, width, channels]. */
interface Picture {
  readonly height: number
  readonly width: number
  readonly channels: number
  readonly values: Uint8Array | Uint8ClampedArray | Uint16Array
}

interface Labelled {
  readonly zip: OpenZip
  readonly entry: ZipEntry
  readonly name: string
  readonly label: string
  readonly split: SplitName | undefined
}

export async function readImages(
  files: readonly IngestFile[],
  sink: RowSink,
  { image }: IngestOptions,
  onBytes: (bytes: number) => void,
): Promise<readonly Column[]> {
  await using opened = new AsyncDisposableStack()
  const found: Labelled[] = []
  for (const { path, name, split } of files) {
    const zip = opened.use(await openZip(path, name))
    for (const entry of zip.entries) {
      if (!/\.(png|jpe?g)$/i.test(entry.name)) {
        throw malformed(`${name}/${entry.name}`, 'a picture that ends in .png, .jpg or .jpeg', 'another file')
      }
      const folders = entry.name.split('/').slice(0, -1)
      const own =
        split ??
        folders
          .slice(0, -1)
          .map(splitOfName)
          .findLast((each) => each !== undefined)
      found.push({ zip, entry, name: `${name}/${entry.name}`, label: folders.at(-1) ?? '', split: own })
    }
  }
  const [first] = found
  if (first === undefined) throw malformed(files[0]?.name ?? '', 'pictures', 'none')
  const loose = found.find(({ label }) => label === '')
  if (loose !== undefined && found.some(({ label }) => label !== '')) {
    throw malformed(loose.name, 'a folder that says the class, as the other pictures have', 'none')
  }
  const isSplit = found.every(({ split }) => split !== undefined) && found.some(({ split }) => split === 'train')
  const names = [...new Set(found.map(({ label }) => label))].toSorted()
  const model = await decoded(first)
  const size = [
    image?.height ?? model.height,
    image?.width ?? model.width,
    image?.channels ?? (model.channels >= 3 ? 3 : 1),
  ] as const
  const columns: Column[] = [
    { name: 'image', dtype: 'uint8', shape: size },
    ...(names.length > 1
      ? [{ name: 'label', dtype: 'int32', shape: [], categories: { count: names.length, names } } as const]
      : []),
  ]
  sink.begin(columns, columns[1]?.name)
  const elements = size[0] * size[1] * size[2]
  const rows = Math.max(1, Math.floor(BATCH_BYTES / elements))
  const [pixels, labels] = [new Uint8Array(rows * elements), new Int32Array(rows)]
  let read = 0
  for (const split of isSplit ? (['train', 'validation', 'test'] as const) : [undefined]) {
    let filled = 0
    const flush = async (): Promise<void> => {
      await sink.take(filled, [pixels, labels].slice(0, columns.length), split)
      filled = 0
      onBytes(read)
    }
    for (const each of found) {
      if (isSplit && each.split !== split) continue
      const picture = await decoded(each)
      if (image === undefined && (picture.height !== size[0] || picture.width !== size[1])) {
        throw malformed(each.name, `${size[0]} × ${size[1]} pixels as the first picture has (or say a size: image)`, `${picture.height} × ${picture.width}`) // prettier-ignore
      }
      // To make it grey without being told would be to lose what it shows.
      if (image?.channels === undefined && size[2] === 1 && picture.channels >= 3) {
        throw malformed(each.name, 'a grey picture as the first one is (or say how many channels: image)', 'one in colour') // prettier-ignore
      }
      fit(picture, size, pixels.subarray(filled * elements, (filled + 1) * elements))
      labels[filled++] = names.indexOf(each.label)
      read += each.entry.packedBytes
      if (filled === rows) await flush()
    }
    if (filled > 0) await flush()
  }
  return columns
}

async function decoded({ zip, entry, name }: Labelled): Promise<Picture> {
  if (entry.sizeBytes > PICTURE_BYTES_MAX)
    throw malformed(name, `at most ${PICTURE_BYTES_MAX} bytes`, String(entry.sizeBytes))
  await using bytes = await zip.read(entry)
  const data = new Uint8Array(entry.sizeBytes)
  await bytes.read(data)
  const { height, width, components } = sizeInHeader(data) ?? { height: 0, width: 0, components: 0 }
  if (height < 1 || width < 1) throw malformed(name, 'a PNG or JPEG file', 'something else')
  if (height * width > PICTURE_PIXELS_MAX)
    throw malformed(name, `at most ${PICTURE_PIXELS_MAX} pixels`, `${height} × ${width}`)
  if (components > 3) throw malformed(name, 'a JPEG file in grey or RGB', 'one of four inks (CMYK)')
  try {
    return data[0] === 0x89 ? fromPng(data) : await fromJpeg(data)
  } catch (error) {
    const reason = error instanceof Error ? error.message : 'one that its decoder does not take'
    throw malformed(name, 'a picture that can be decoded', reason)
  }
}

interface Header {
  readonly height: number
  readonly width: number
  /** Of a JPEG's pixel; 0 of a PNG, which says it otherwise. */
  readonly components: number
}

const PNG_SIGNATURE = 0x89504e470d0a1a0an
/** The type of the chunk that comes first. */
const IHDR = 0x49484452

/** What the header claims: PNG's first chunk, JPEG's frame. */
function sizeInHeader(data: Uint8Array): Header | undefined {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  const isPng = data.byteLength > 24 && view.getBigUint64(0) === PNG_SIGNATURE && view.getUint32(12) === IHDR
  if (isPng) return { width: view.getUint32(16), height: view.getUint32(20), components: 0 }
  if (data.byteLength < 4 || view.getUint16(0) !== 0xffd8) return undefined
  for (let at = 2; at + 9 < data.byteLength;) {
    if (data[at] !== 0xff) return undefined
    const marker = data[at + 1] ?? 0
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)
    if (isFrame)
      return { height: view.getUint16(at + 5), width: view.getUint16(at + 7), components: view.getUint8(at + 9) }
    at += 2 + view.getUint16(at + 2)
  }
  return undefined
}

function fromPng(data: Uint8Array): Picture {
  const { height, width, channels, data: values, depth, palette } = decodePng(data)
  if (palette !== undefined) {
    const colours = new Uint8Array(height * width * 3)
    for (let i = 0; i < height * width; i++) {
      const index = depth === 8 ? (values[i] ?? 0) : indexAt(values, i, depth, width)
      colours.set((palette[index] ?? [0, 0, 0]).slice(0, 3), i * 3)
    }
    return { height, width, channels: 3, values: colours }
  }
  if (depth === 16) return { height, width, channels, values: Uint8Array.from(values, (value) => value >> 8) }
  if (depth < 8) {
    const scale = 255 / (2 ** depth - 1)
    return { height, width, channels, values: Uint8Array.from({ length: height * width }, (_, i) => indexAt(values, i, depth, width) * scale) } // prettier-ignore
  }
  return { height, width, channels, values }
}

/** A pixel of fewer than 8 bits; each line starts at a byte. */
function indexAt(values: ArrayLike<number>, pixel: number, depth: number, width: number): number {
  const lineBytes = Math.ceil((width * depth) / 8)
  const bit = (pixel % width) * depth
  const byte = values[Math.floor(pixel / width) * lineBytes + (bit >> 3)] ?? 0
  return (byte >> (8 - depth - (bit & 7))) & (2 ** depth - 1)
}

let jpeg: Promise<void> | undefined

async function fromJpeg(data: Uint8Array<ArrayBuffer>): Promise<Picture> {
  jpeg ??= startJpeg()
  await jpeg
  const { height, width, data: values } = await decodeJpeg(data.buffer)
  return { height, width, channels: 4, values }
}

/** The decoder asks for a browser's ImageData and fetches its own code: both are given. */
async function startJpeg(): Promise<void> {
  class PlainImageData {
    readonly data: Uint8ClampedArray
    readonly width: number
    readonly height: number
    constructor(data: Uint8ClampedArray, width: number, height: number) {
      this.data = data
      this.width = width
      this.height = height
    }
  }
  Object.assign(globalThis, { ImageData: PlainImageData })
  const path = createRequire(import.meta.url).resolve('@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm')
  const module = await WebAssembly.compile(await readFile(path))
  // Its types know the options alone; its first argument may be the module (@jsquash/jpeg, README, "Usage in Node").
  await (initJpeg as unknown as (module: WebAssembly.Module) => Promise<void>)(module)
}

/** Brings a picture to a size and number of channels. Transparency is left out; grey is by luma (BT.601). */
function fit(picture: Picture, [height, width, channels]: readonly [number, number, number], into: Uint8Array): void {
  const { values, channels: had } = picture
  const pixels = picture.height * picture.width
  const plain = new Float32Array(pixels * channels)
  for (let i = 0; i < pixels; i++) {
    const at = i * had
    const [red, green, blue] = had >= 3 ? [values[at] ?? 0, values[at + 1] ?? 0, values[at + 2] ?? 0] : [values[at] ?? 0, values[at] ?? 0, values[at] ?? 0] // prettier-ignore
    if (channels === 3) plain.set([red, green, blue], i * 3)
    else plain[i] = red === green && green === blue ? red : 0.299 * red + 0.587 * green + 0.114 * blue
  }
  if (picture.height === height && picture.width === width) {
    for (let i = 0; i < plain.length; i++) into[i] = Math.round(plain[i] ?? 0)
    return
  }
  const resized = new Float32Array(height * width * channels)
  resize(plain, [picture.height, picture.width, channels], resized, [height, width, channels])
  for (let i = 0; i < resized.length; i++) into[i] = Math.round(resized[i] ?? 0)
}

function malformed(name: string, expected: string, found: string): KernelError {
  return new KernelError('data.malformed', `${name}: expected ${expected}, found ${found}`, {
    file: name,
    expected,
    found,
  })
}
