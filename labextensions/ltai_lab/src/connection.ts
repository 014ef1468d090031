/** How the panels reach the services from JupyterLab: through this server's own extension. */
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import type { Connection } from '@ltai/ui';

export interface Info {
  connected: boolean;
  user: string;
  /** Name of this server at the hub; "default" for the unnamed one. */
  server: string;
  /** Address of the console, "" without a hub. */
  console: string;
}

export function makeConnection(settings: ServerConnection.ISettings): Connection {
  return { url: (service, path) => URLExt.join(settings.baseUrl, 'ltai', 'api', service, path), headers: () => headersOf(settings) };
}

export const infoUrl = (settings: ServerConnection.ISettings): string => URLExt.join(settings.baseUrl, 'ltai', 'info');

/** The page's token where there is one, and the cookie's XSRF word: what JupyterLab's own requests carry. */
export function headersOf(settings: ServerConnection.ISettings): Record<string, string> {
  const headers: Record<string, string> = {};
  if (settings.token) headers.Authorization = `token ${settings.token}`;
  const xsrf = /(?:^|;\s*)_xsrf=([^;]*)/.exec(document.cookie)?.[1];
  if (xsrf) headers['X-XSRFToken'] = xsrf;
  return headers;
}
