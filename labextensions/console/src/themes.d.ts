declare module 'lab-theme:light';
declare module 'lab-theme:dark';
declare module '*.css';
