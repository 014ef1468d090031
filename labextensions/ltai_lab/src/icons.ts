import { LabIcon } from '@jupyterlab/ui-components';

const draw = (name: string, paths: string): LabIcon =>
  new LabIcon({
    name: `ltai:${name}`,
    svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16" viewBox="0 0 24 24"><g class="jp-icon3" fill="#616161">${paths}</g></svg>`
  });

export const logoIcon = draw('logo', '<path d="M12 2 3 7v10l9 5 9-5V7l-9-5zm0 2.3 6.6 3.7L12 11.7 5.4 8 12 4.3zM5 9.7l6 3.4v6.3l-6-3.3V9.7zm8 9.7v-6.3l6-3.4v6.4l-6 3.3z"/>');
export const jobIcon = draw('job', '<path d="M4 4h16v16H4V4zm2 2v12h12V6H6zm4 2.5 6 3.5-6 3.5v-7z"/>');
export const modelIcon = draw('model', '<path d="m12 3 8 4.5v9L12 21l-8-4.5v-9L12 3zm0 2.3L7.1 8 12 10.800 16.900 8 12 5.300zM6 9.700v5.600l5 2.800v-5.600L6 9.700zm7 8.400 5-2.800V9.700l-5 2.800v5.600z"/>');
export const endpointIcon = draw('endpoint', '<path d="M11 2h2v8h-2V2zM6.300 5.300 7.700 6.700a6 6 0 1 0 8.600 0l1.400-1.400a8 8 0 1 1-11.400 0z"/><circle cx="12" cy="11" r="2"/>');
export const usageIcon = draw('usage', '<path d="M4 20V4h2v14h14v2H4zm4-4v-5h3v5H8zm4.500 0V7h3v9h-3zM17 16v-7h3v7h-3z"/>');
export const environmentIcon = draw('environment', '<path d="M3 5h18v12H3V5zm2 2v8h14V7H5zm3 12h8v2H8v-2z"/>');
