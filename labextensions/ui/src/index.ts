import './style.css';

export { ApiError, Client, getJson, type Connection } from './client';
export { Ltai, makeQueryClient, may, useMe, useOne, usePlace, type Place } from './context';
export { bytes, commandLine, money, price, trim } from './format';
export { languageOf, makeWords, useWords, type Key, type Language, type Words } from './i18n';
export { PanelAt, titleOf } from './pages';
export { Monitor, useMetrics } from './panels/monitor';
export { NoHub, Sidebar } from './panels/sidebar';
export { Page } from './parts/layout';
export { Empty, ErrorBox, Loaded } from './parts/states';
export type { Environment, Flavor, List, Me, Metrics } from './types';
