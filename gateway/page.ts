/**
 * The page: dashboards/console, served as it is. An entry reads the files once at its start, by this allow-list; no
 * part of a request ever becomes part of a path.
 */
import type { Hono } from 'hono'
import type { Env } from './api.ts'
import { GatewayError } from './problems.ts'

/** File of dashboards/console → its media type. */
const FILES = {
  'index.html': 'text/html; charset=utf-8',
  'console.css': 'text/css; charset=utf-8',
  'console.js': 'text/javascript; charset=utf-8',
  'api.js': 'text/javascript; charset=utf-8',
  'batches.js': 'text/javascript; charset=utf-8',
  'chart.js': 'text/javascript; charset=utf-8',
  'format.js': 'text/javascript; charset=utf-8',
  'models.js': 'text/javascript; charset=utf-8',
  'results.js': 'text/javascript; charset=utf-8',
  'sweeps.js': 'text/javascript; charset=utf-8',
  'views.js': 'text/javascript; charset=utf-8',
  'icon.svg': 'image/svg+xml',
} as const

export type PageFileName = keyof typeof FILES

export interface PageFile {
  readonly type: string
  readonly etag: string
  readonly bytes: Uint8Array<ArrayBuffer>
}

export type PageFiles = ReadonlyMap<PageFileName, PageFile>

/** The folder of the page, from here; an entry turns it into a path of its platform. */
export const PAGE_FOLDER = new URL('../dashboards/console/', import.meta.url)

/** Reads the page with the file reading of the platform. Throws `page.missing` when a file is not there. */
export async function pageFrom(read: (file: URL) => Promise<Uint8Array<ArrayBuffer>>): Promise<PageFiles> {
  const names = Object.keys(FILES) as PageFileName[] // the keys of a constant that nobody extends
  return new Map(await Promise.all(names.map(async (name) => [name, await readOne(name, read)] as const)))
}

/** `/` and `/console/FILE`. They are public: what they show, they fetch with the visitor's own session. */
export function servePage(app: Hono<Env>, files: PageFiles): void {
  for (const [name, file] of files) {
    app.get(name === 'index.html' ? '/' : `/console/${name}`, (c) => {
      const headers = { 'Content-Type': file.type, ETag: file.etag, 'Cache-Control': 'no-cache' }
      if (c.req.header('if-none-match') === file.etag) return new Response(null, { status: 304, headers })
      return new Response(file.bytes, { headers })
    })
  }
}

async function readOne(name: PageFileName, read: (file: URL) => Promise<Uint8Array<ArrayBuffer>>): Promise<PageFile> {
  const url = new URL(name, PAGE_FOLDER)
  try {
    const bytes = await read(url)
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
    const etag = `"${Array.from(digest.subarray(0, 12), (byte) => byte.toString(16).padStart(2, '0')).join('')}"`
    return { type: FILES[name], etag, bytes }
  } catch (cause) {
    throw new GatewayError('page.missing', `Cannot read the page's file ${url.pathname}`, { cause })
  }
}
